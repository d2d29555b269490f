"""Folders as the reference leaves them: what it writes, from facts of its files, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from eqprop_core.config import RunConfig
from eqprop_core.networks.network import Network, build_network

LINE = "main.py --model MLP --task MNIST --archi 784 8 10 --optim sgd --lrs 0.08 0.04 --mmt 0.9 --epochs 6 --act mysig --todo train --betas 0.0 0.1 --T1 6 --T2 3 --mbs 4 --loss mse --save --device 0"
DEFAULTS: dict[str, Any] = {"task": "MNIST", "data_aug": False, "lr_decay": False, "scale": None, "act": "mysig", "lrs": [], "wds": None, "mmt": 0.0, "optim": "sgd", "loss": "mse", "alg": "EP", "mbs": 20, "T1": 20, "T2": 4, "betas": [0.0, 0.01], "random_sign": False, "thirdphase": False, "softmax": False, "same_update": False, "epochs": 1, "seed": None}  # fmt: skip
LABELS = {"task": "task", "data_aug": "data augmentation (if CIFAR10)", "lr_decay": "learning rate decay", "scale": "scale for weight init", "act": "activation", "lrs": "learning rates", "wds": "weight decays", "mmt": "momentum (if sgd)", "optim": "optimizer", "loss": "loss", "alg": "alg", "mbs": "minibatch size", "T1": "T1", "T2": "T2", "betas": "betas", "random_sign": "random beta_2 sign", "thirdphase": "thirdphase", "softmax": "softmax", "same_update": "same update VFCNN", "epochs": "epochs", "seed": "seed"}  # fmt: skip


class PickledModule(nn.Module):
    """As which the reference keeps its best model: whole, to be read only by running code."""


def hyperparameters(line: str, **settings: Any) -> str:
    """The text of `hyperparameters.txt`: the command line, what it came to, the network as torch prints it."""
    values = {**DEFAULTS, **settings}
    said = "".join(f"- {label}: {values[name]}\n" for name, label in LABELS.items())
    return f"{line} \n\n{said}- device: 0\n\nPoolings : [] \n\nP_MLP(\n  (synapses): ModuleList(\n    (0): Linear(in_features=784, out_features=8, bias=True)\n  )\n)\n"


def reference_optimizer(net: Network, config: RunConfig) -> torch.optim.Optimizer:
    """Its optimizer: a group for each connection, then one for each backward weight; steps were taken."""
    assert config.lrs is not None
    groups: list[dict[str, Any]] = [
        {"params": list(layer.parameters()), "lr": rate}
        for layer, rate in zip(net.synapses, config.lrs, strict=True)
    ]
    backward = [p for name, p in net.named_parameters() if name.startswith("B_syn.")]
    groups += [{"params": [p], "lr": rate} for p, rate in zip(backward, config.lrs[1:], strict=False)]
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(groups)
        if config.optim == "adam"
        else torch.optim.SGD(groups, lr=0.1, momentum=config.mmt)
    )
    for number, parameter in enumerate(net.parameters(), 1):
        parameter.grad = torch.full_like(parameter, number / 100)
    optimizer.step()
    net.zero_grad(set_to_none=True)
    return optimizer


def reference_folder(
    path: Path, *, line: str = LINE, epochs: int = 3, finished: bool = True, **settings: Any
) -> Network:
    """Write a folder as `main.py --save` leaves it after some epochs, the last the worst; its network.

    `settings` are those that the line gives, as they are after parsing.
    """
    path.mkdir(parents=True)
    given: dict[str, Any] = {"lrs": [0.08, 0.04], "mmt": 0.9, "epochs": 6, "betas": [0.0, 0.1], "T1": 6, "T2": 3, "mbs": 4, **settings}  # fmt: skip
    (path / "hyperparameters.txt").write_text(hyperparameters(line, **given))
    config = RunConfig(**{"archi": [784, 8, 10], **{k: v for k, v in given.items() if v is not None}})
    net = build_network(config.model_part(), generator=torch.Generator().manual_seed(1))
    optimizer = reference_optimizer(net, config)
    test = [10.0, *(50.0 + 5 * n for n in range(1, epochs)), 12.5]
    train = [10.0, *(value + 1 for value in test[1:])]

    def saved(count: int) -> dict[str, Any]:
        scheduler = {"T_max": 100, "last_epoch": count} if config.lr_decay else None
        return {
            "model_state_dict": net.state_dict(),
            "opt": optimizer.state_dict(),
            "train_acc": train[: count + 1],
            "test_acc": test[: count + 1],
            "best": 6000,
            "epoch": count,
            "angles": [90.0],
            "scheduler": scheduler,
        }

    torch.save(saved(epochs - 1), path / "checkpoint.tar")
    torch.save(PickledModule(), path / "model.pt")
    if finished:
        torch.save(saved(epochs), path / "final_checkpoint.tar")
        torch.save(PickledModule(), path / "final_model.pt")
    (path / "train-test_acc.png").write_bytes(b"a picture")
    (path / "neural_activity.png").write_bytes(b"a picture")
    return net
