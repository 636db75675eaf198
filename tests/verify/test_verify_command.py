"""`refplay verify`: the verdict, the exit code, and one clear line for whatever can be wrong with an optimizer."""

import os
import re
import subprocess
import sys
import textwrap

import jax
import keras
import numpy as np
import optax
import pytest
import torch

from refplay.cli import main
from refplay.errors import InputError
from refplay.verify import assert_matches
from refplay.verify.identify import identify


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Run `refplay verify` beside a module of one factory; return its exit code, output and complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def run(*argv, source=None):
        if source is not None:
            (tmp_path / "written.py").write_text("import numpy as np\n" + textwrap.dedent(source))
            sys.modules.pop("written", None)
        code = main(["verify", *argv])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return code, printed.out, printed.err.strip()

    return run


@pytest.mark.parametrize(("argv", "code", "words"), [
    (["torch.optim.Adam"], 0, ["is adam", "epsilon: after the bias correction"]),
    (["optax.adam"], 0, ["is adam", "epsilon: after the bias correction"]),
    (["torch.optim.NAdam", "--rule", "nadam", "--dialect", "playbook"], 1,
     ["epsilon: after", "momentum schedule", "look-ahead correction: of its own", "step 0"]),
    (["torch.optim.NAdam", "--rule", "nadam", "--dialect", "pytorch"], 0, ["is nadam in the dialect of pytorch"]),
    (["torch.optim.NAdam", "--rule", "nadam"], 0, ["is nadam"]),
    (["torch.optim.Adam", "--rule", "nadam"], 1, ["is not nadam in any dialect; it is adam"]),
    (["torch.optim.Adamax"], 1, ["is not any of the six rules in any dialect", "nearest", "parts at"]),
    (["keras.optimizers.Adam", "--dialect", "playbook"], 0, ["is adam in the playbook's dialect"]),
    (["keras.optimizers.SGD", "--rule", "nesterov", "--dialect", "playbook"], 1, ["inside the buffer"]),
    (["torch.optim.SGD", "--rule", "nesterov"], 0, ["nesterov=True"]),
    (["torch.optim.AdamW", "--rule", "adam", "--dialect", "optax"], 0, ["decoupled"]),
    (["optax.rmsprop", "--dialect", "playbook"], 1, ["initial v: 0, not 1"]),
    (["optax.rmsprop", "--dialect", "playbook", "--set", "initial_scale=1.0", "eps_in_sqrt=true"], 0,
     ["initial_scale"]),
    (["torch.optim.SGD", "--set", "momentum=0.8", "--set", "dampening=0.4"], 0, ["dampening: after the first step"]),
])  # fmt: skip
def test_the_answer(verify, argv, code, words):
    answer, printed, complaint = verify(*argv)
    assert (answer, complaint) == (code, "")
    assert all(word in printed for word in words), printed


def test_as_it_is_typed():
    command = [sys.executable, "-m", "refplay", "verify"]
    done = subprocess.run([*command, "torch.optim.NAdam", "--rule", "nadam", "--dialect", "playbook"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "term           momentum schedule" in done.stdout


@pytest.mark.parametrize("backend", ["torch", ""])
def test_keras_runs_on_the_backend_that_is_set_or_one_that_is_there(backend):
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    if backend:
        environment["KERAS_BACKEND"] = backend
    done = subprocess.run([sys.executable, "-m", "refplay", "verify", "keras.optimizers.Nadam", "--dialect", "keras"],
                          capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"keras \S+ on {backend or 'jax'}\) is nadam in the dialect of keras", done.stdout)


SGD = """
    def factory(lr):
        return lambda theta, g, lr: {}
"""


@pytest.mark.parametrize(("source", "words"), [
    ("""
     def factory(lr):
         raise RuntimeError("no\\nway")
     """, "raises when it is built: RuntimeError: no way"),
    ("""
     def factory(lr):
         def step(theta, g):
             step.t += 1
             return theta if step.t < 4 else 1 / 0
         step.t = 0
         return step
     """, "raises at step 3: ZeroDivisionError"),
    ("""
     def factory(lr):
         return lambda theta, g: exit(0)
     """, "raises at step 0: SystemExit"),
    (SGD.format("(theta - lr * g).astype(np.float32)"),
     "changes the dtype of theta at step 0: float64 becomes float32"),
    (SGD.format("(theta - lr * g)[:3]"), "changes the shape of theta at step 0: (40,) becomes (3,)"),
    (SGD.format("list(theta - lr * g)"), "returns no NumPy array at step 0, but list"),
    (SGD.format("None"), "returns no NumPy array at step 0, but NoneType"),
    (SGD.format("theta - lr * g / np.where(np.abs(g) > 3, np.nan, 1)"), "returns NaN or infinity at step"),
    ("""
     M = 0
     def factory(lr):
         def step(theta, g):
             global M
             M = 0.9 * M + g
             return theta - lr * M
         return step
     """, "keeps state from one run to the next, or draws random numbers: a second, fresh one leaves the path of the "
          "first at step 0"),
    (SGD.format("theta - lr * g * np.random.random(g.shape)"), "keeps state from one run to the next, or draws random"),
    (SGD.format("theta - 0.01 * g"), "ignores its learning rate"),
    (SGD.format("theta"), "ignores its learning rate"),
    ("""
     def factory(lr):
         return 3
     """, "is not an optimizer: it returns int"),
])  # fmt: skip
def test_an_optimizer_that_misbehaves_gets_a_verdict(verify, source, words):
    code, printed, complaint = verify("written:factory", source=source)
    assert (code, complaint) == (1, "")
    assert words in printed.splitlines()[0], printed


@pytest.mark.parametrize(("argv", "words"), [
    (["torch.optim.Adamm"], ["torch.optim has no Adamm", "did you mean Adam?"]),
    (["optax.adan_"], ["optax has no adan_"]),
    (["nowhere:factory"], ["nowhere"]),
    (["nonsense"], ["'nonsense' names no optimizer", "torch.optim.NAME"]),
    (["written:nothing"], ["written has no nothing"]),
    (["written:number"], ["written:number is not an optimizer", "int"]),
    (["broken:factory"], ["importing broken fails", "SyntaxError"]),
    (["written:needy"], ["'colour'", "--set colour=..."]),
    (["written:rateless"], ["takes no learning rate", "--set learning_rate="]),
    (["torch.optim.Adam", "--rule", "adamm"], ["'adamm'", "nadam"]),
    (["torch.optim.Adam", "--dialect", "tensorflow"], ["'tensorflow'", "playbook"]),
    (["torch.optim.Adam", "--set", "betta1=0.9"], ["'betta1'", "did you mean 'beta1'?"]),
    (["torch.optim.Adam", "--set", "beta1"], ["--set beta1", "name=value"]),
    (["torch.optim.Adam", "--set", "eps=small"], ["eps must be a number", "'small'"]),
    (["torch.optim.Adam", "--set", "betas=3"], ["betas"]),
    ([], ["nothing to verify"]),
    (["--matrix", "no/such/folder/page.md"], ["no/such/folder/page.md"]),
    (["--matrix", "bare.md"], ["bare.md", "<!-- matrix -->"]),
])  # fmt: skip
def test_bad_input_is_one_clear_line(verify, argv, words, tmp_path):
    (tmp_path / "broken.py").write_text("def factory(:")
    (tmp_path / "bare.md").write_text("# A page\n")
    code, printed, complaint = verify(*argv, source="""
        number = 3
        def needy(lr, colour): return lambda theta, g: theta - lr * g
        def rateless(): return lambda theta, g: theta - 0.1 * g
    """)
    assert (code, printed) == (2, "")
    assert complaint.startswith("refplay: ")
    assert "\n" not in complaint
    assert all(word in complaint for word in words), complaint


def test_a_package_that_is_not_installed(verify, monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    code, _, complaint = verify("optax.adam")
    assert code == 2
    assert "optax is not installed" in complaint
    assert "refplay[verify]" in complaint


class Heavy:
    """The heavy ball as an object with a rate that can be changed and a method `step`."""

    def __init__(self, lr, momentum):
        self.lr, self.momentum, self.v = lr, momentum, 0.0

    def step(self, theta, g):
        self.v = self.momentum * self.v + g
        return theta - self.lr * self.v


class TorchHeavy(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                v = self.state[p].setdefault("v", torch.zeros_like(p))
                v.mul_(group["momentum"]).add_(p.grad)
                p.data -= group["lr"] * v


def optax_heavy(learning_rate, gamma):
    return optax.chain(optax.trace(gamma), optax.scale(-learning_rate))


def keras_heavy(learning_rate, momentum):
    return keras.optimizers.SGD(learning_rate, momentum=momentum)


@pytest.mark.parametrize(("optimizer", "dialect"), [(Heavy, "playbook"), (TorchHeavy, "playbook"),
                                                    (optax_heavy, "playbook"), (keras_heavy, "keras")])
def test_anybodys_optimizer_of_each_kind(optimizer, dialect):
    assert_matches(optimizer, "momentum", dialect)
    with pytest.raises(AssertionError, match="is not nesterov in any dialect; it is momentum"):
        assert_matches(optimizer, "nesterov", "any")


def test_a_transformation_that_is_built_already():
    assert_matches(optax.adam(0.02, b1=0.8), "adam", "optax", learning_rate=0.02, beta1=0.8)
    with pytest.raises(AssertionError, match="bias correction"):
        assert_matches(optax.adam(0.02, b1=0.8, eps=0.1), "adam", learning_rate=0.02, beta1=0.8, epsilon=0.1)
    with pytest.raises(InputError, match="takes no learning rate"):
        assert_matches(optax.adam(0.02), "adam")


def test_the_message_of_a_failed_assertion_is_the_explanation():
    with pytest.raises(AssertionError) as caught:
        assert_matches(torch.optim.RMSprop, "rmsprop")
    assert all(words in str(caught.value) for words in (
        "is not rmsprop in the playbook dialect", "initial v: 0, not 1", "epsilon: outside of the root, not in",
        "learning rate: outside of the buffer"))


def test_a_rate_that_cannot_be_changed_hides_where_it_stands():
    def factory(lr, momentum):
        v = 0.0

        def step(theta, g):
            nonlocal v
            v = momentum * v + lr * g
            return theta - v

        return step

    verdict = identify(factory, "momentum")
    assert verdict.matches
    assert not verdict.changing
    assert verdict.unseen == ("learning rate",)


def test_an_optimizer_that_refuses_float64_is_judged_in_float32():
    def factory(lr, momentum, wrong=False):
        v = np.float32(0)

        def step(theta, g, lr):
            nonlocal v
            if theta.dtype != np.float32:
                raise TypeError("float32 only")
            v = np.float32(momentum) * v + g * np.float32(1.0001 if wrong else 1)
            return theta - np.float32(lr) * v

        return step

    verdict = identify(factory)
    assert (verdict.matches, verdict.dtype, verdict.found.rule) == (True, "float32", "momentum")
    assert not identify(factory, settings={"wrong": True}).matches


def test_what_an_optimizer_takes_no_argument_for_is_a_default_of_the_rule_or_told():
    def factory(lr, b2=0.9):
        m = v = t = 0

        def step(theta, g, lr):
            nonlocal m, v, t
            m, v, t = 0.9 * m + 0.1 * g, b2 * v + (1 - b2) * g**2, t + 1
            return theta - lr * m / (np.sqrt(v) + 0.3) * np.sqrt(1 - b2**t) / (1 - 0.9**t)

        return step

    assert_matches(factory, "adam", epsilon=0.3)
    with pytest.raises(AssertionError):
        assert_matches(factory, "adam", epsilon=0.2)
    with pytest.raises(AssertionError):
        assert_matches(factory, "adam", epsilon=0.3, beta1=0.8)


@pytest.mark.parametrize("error", [0, 1e-12])
def test_what_is_off_by_more_than_rounding_is_off(error):
    def factory(lr):
        return lambda theta, g, lr: theta - lr * (1 + error) * g

    assert identify(factory).matches == (error == 0)


def test_the_frameworks_are_left_as_they_were():
    jax.config.update("jax_enable_x64", False)
    keras.config.set_floatx("float32")
    torch.set_default_dtype(torch.float32)
    before = jax.config.jax_enable_x64, keras.config.floatx(), torch.get_default_dtype()
    for name in ("torch.optim.SGD", "optax.sgd", "keras.optimizers.SGD"):
        identify(name)
    assert (jax.config.jax_enable_x64, keras.config.floatx(), torch.get_default_dtype()) == before
