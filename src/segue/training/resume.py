"""Resumes an interrupted run exactly as it would have gone on: raw weights, moments, and the same settings."""

import itertools
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segue.errors import CheckpointError
from segue.training import checkpoint
from segue.training.bounded import check_weights, refusing


def learned(module: nn.Module) -> dict[str, nn.Parameter]:
    """Weights that are learned, by name: all but frozen ones."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def resume_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Raw weights and the optimiser's moments, by name."""
    state = {f"raw.{name}": value for name, value in learned(module).items()}
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {f"adam.{i}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def check_same_run(run: Path, saved: checkpoint.Checkpoint, described: Mapping[str, Any], module: nn.Module) -> None:
    """Raise `CheckpointError` unless the run was started with what is described, on the same demonstrations.

    A setting that an older version did not know was at its default.
    """
    for part, settings in described.items():
        before, now = saved.info.get(part), checkpoint.as_json(settings)
        if is_dataclass(settings) and isinstance(before, dict):
            usual = {each.name: each.default for each in fields(settings) if each.default is not MISSING}
            before = checkpoint.as_json(usual) | before
        if before != now:
            raise CheckpointError(
                got=f"{run} was started with {part} settings {before}",
                expected=f"the settings of this call, {now}",
                change="use the same settings, another folder for a new run (--out), or start anew (--fresh)",
            )
    weights = learned(module)
    for name, value in module.state_dict().items():
        said = saved.weights.get(name)
        if name not in weights and (said is None or not torch.equal(said, value.cpu())):
            raise CheckpointError(
                got=f"{run} was started on demonstrations with another {name}",
                expected="the demonstrations that the run was started on",
                change="use the same demonstrations, another folder for a new run (--out), or start anew (--fresh)",
            )


def restore(
    saved: checkpoint.Checkpoint, module: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> int:
    """Load a checkpoint into all three; returns the updates done.

    Raises:
        CheckpointError: A weight is missing, or NaN.
    """
    with refusing(saved.path, *checkpoint.FITTING):
        check_weights(saved.weights)
        average.load_state_dict(saved.weights)
        state = checkpoint.load_resume(saved)
        parameters = learned(module)
        missing = [name for name in parameters if f"raw.{name}" not in state]
        if missing:
            raise CheckpointError(
                got=f"{saved.path / 'resume.safetensors'} without the weights {missing[0]!r}",
                expected="raw weights and optimiser moments as `segue train` wrote them",
                change="copy the folder again, or train anew with --fresh",
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(state[f"raw.{name}"])
        template = optimizer.state_dict()
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, i, name = key.split(".")
                moments.setdefault(int(i), {})[name] = value
        optimizer.load_state_dict({"state": moments, "param_groups": template["param_groups"]})
    return int(saved.info["update"])


@torch.no_grad()
def spread(done: int, module: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Give every process what the first one has restored; returns its updates done."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    device = weights[0].device
    # a weight that the loss has never used has no moments
    said = torch.tensor([done, *(weight in optimizer.state for weight in weights)], device=device)
    torch.distributed.broadcast(said, 0)
    done, *moving = said.tolist()
    if done:
        kept = [*module.state_dict().values(), *average.state_dict().values()]
        for weight in itertools.compress(weights, moving):
            like = dict.fromkeys(("exp_avg", "exp_avg_sq"), weight)
            state = optimizer.state[weight]
            for name, shape in {**like, "step": torch.zeros((), device=device)}.items():
                kept.append(state.setdefault(name, torch.zeros_like(shape)))
        for each in kept:
            torch.distributed.broadcast(each.detach(), 0)
    return done
