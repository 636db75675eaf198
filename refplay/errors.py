"""The one exception that means: what you gave us is wrong, and here is the mend."""


class InputError(ValueError):
    """Bad input of a user: a plan, a data folder, a store, a name that does not exist.

    The message is one line that names the thing and the mend. The command line prints it on standard error
    and exits with 2; nothing was written. Any other exception is a bug of refplay and keeps its traceback.
    """


def missing_extra(package: str, extra: str) -> InputError:
    """Return the error for a package that belongs to an extra and is not installed."""
    return InputError(f"{package} is not installed; it comes with: python -m pip install 'refplay[{extra}]'")
