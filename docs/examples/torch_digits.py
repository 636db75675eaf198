"""A PyTorch training function under the playbook's process.

Run it with the plan beside it, from this folder:

    refplay run torch_digits.toml

refplay asks only for a function that takes a trial: it reads hyperparameters with `trial["name"]`, trains for
`trial.steps` steps and reports metrics, lower being better. The same file works with JAX, Keras or anything else.
"""

import torch
from torch import nn

from refplay.data import load_dataset


def train(trial):
    """Train a small MLP on the digits data with the optimizer and hyperparameters of `trial`."""
    torch.manual_seed(trial.seed)
    torch.set_num_threads(1)  # trials run side by side, one a core
    data = load_dataset("digits")
    x_train, y_train = torch.from_numpy(data.train.x).flatten(1), torch.from_numpy(data.train.y)
    x_valid, y_valid = torch.from_numpy(data.valid.x).flatten(1), torch.from_numpy(data.valid.y)

    model = nn.Sequential(nn.Linear(64, trial["width"]), nn.ReLU(), nn.Linear(trial["width"], data.classes))
    optimizer = torch.optim.SGD(model.parameters(), trial["learning_rate"], momentum=trial["momentum"], nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.steps)
    shuffle = trial.generator("shuffle")

    for step in range(1, trial.steps + 1):
        batch = torch.from_numpy(shuffle.choice(len(y_train), size=64, replace=False))
        loss = nn.functional.cross_entropy(model(x_train[batch]), y_train[batch])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in model.parameters()])
        optimizer.step()
        schedule.step()
        trial.report(step, train_loss=loss.item(), gradient_norm=norm.item())
        if step % 20 == 0:
            with torch.no_grad():
                wrong = model(x_valid).argmax(1) != y_valid
            trial.report(step, valid_error=wrong.float().mean().item())
