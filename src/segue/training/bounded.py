"""Bounds what a stranger's checkpoint may cost to read: files, numbers and modules, before room is made for them.

    config.json   `segue.core.foreign`, a text   --> numbers in range --+
    weights       an ordinary file --> no number that is NaN ------------+--> a module, no larger than its weights

Whatever goes wrong on the way is a `CheckpointError` that names the file.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from segue.core.spec import LARGEST, LONGEST_PERIOD, SHORTEST_PERIOD
from segue.errors import CheckpointError, MissingExtraError, SegueError

LARGEST_WEIGHTS: Final = 64 * 2**30
"""Most bytes of a file of weights."""
LARGEST_SETTING: Final = 2**20
"""Largest size or count in the description of a module."""
_DEEPEST: Final = 32
_SPARE: Final = 2
"""A module may have so many times the parameters of its weights while it is built: some are replaced."""

Made = TypeVar("Made", bound=nn.Module)


@contextmanager
def refusing(file: Path, expected: str, change: str) -> Iterator[None]:
    """Turn whatever is wrong with a file into a `CheckpointError`; a package that is missing is not its fault."""
    try:
        yield
    except (CheckpointError, MissingExtraError):
        raise
    except Exception as error:
        said = (
            str(error)
            if isinstance(error, SegueError | ValueError | RuntimeError)
            else f"{type(error).__name__}: {error}"
        )
        raise CheckpointError(f"{file}: {' '.join(said.split())[:300]}", expected, change) from error


def _check_numbers(described: Any, depth: int = 0) -> None:
    """Raise `ValueError` unless all numbers in the description of a module are ordinary ones, as settings are."""
    if depth > _DEEPEST:
        raise ValueError("settings in settings in settings")
    if isinstance(described, Mapping):
        described = [*described, *described.values()]
    if isinstance(described, list | tuple):
        for each in described:
            _check_numbers(each, depth + 1)
    elif isinstance(described, int | float) and not (
        math.isfinite(described) and -LARGEST_SETTING <= described <= LARGEST_SETTING
    ):
        raise ValueError(f"a setting of {str(described)[:40]}; expected: up to {LARGEST_SETTING}")


def check_described(fields: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless the sizes, the period and the indices of a module's description are in range.

    A comparison with a period that is no number, or with an index that is negative, would pass.
    """
    _check_numbers(fields)
    names = {name: fields.get(name, ()) for name in ("observation_names", "action_names")}
    for name, each in names.items():
        if not isinstance(each, list | tuple) or not all(isinstance(name, str) for name in each) or len(each) > LARGEST:
            raise ValueError(f"{name} that are not up to {LARGEST} names")
    for name, largest in (("horizon", LARGEST), ("denoising_steps", 1000), ("stride", LARGEST), ("latent", LARGEST)):
        if name in fields and (type(fields[name]) is not int or not 1 <= fields[name] <= largest):
            raise ValueError(f"{name} {fields[name]!r}; expected: 1 to {largest}")
    period = fields.get("dt", 1.0)
    number = isinstance(period, int | float) and not isinstance(period, bool)
    if not number or not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
        raise ValueError(f"a control period of {period!r} s")
    for index in (*fields.get("relative_to", ()), *fields.get("state_of_action", ())):
        if index is not None and (type(index) is not int or not 0 <= index < len(names["observation_names"])):
            raise ValueError(f"an action relative to observation {index!r}")
    resized = ((fields.get("vision") or {}).get("settings") or {}).get("size")
    if resized is not None and (type(resized) is not int or not 1 <= resized <= LARGEST):
        raise ValueError(f"pictures resized to {resized!r} pixels")


def check_weights(weights: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` where a weight is NaN."""
    for name, weight in weights.items():
        if torch.isnan(weight).any():
            raise ValueError(f"{name} with a number that is NaN")


def built(build: Callable[[], Made], weights: Mapping[str, Tensor]) -> Made:
    """A module of the size of its weights, with these weights.

    Args:
        build: Makes it, as its description says.
        weights: Its state.

    Raises:
        ValueError: It would be larger than its weights, or one of them is NaN.
        RuntimeError: The weights are those of another module.
    """
    check_weights(weights)
    try:
        with torch.device("meta"), _no_larger_than(weights):  # first without room for any number
            build()
    except _TooLargeError:
        raise
    except Exception:  # some modules of others cannot be built so; what else is wrong shows below
        pass
    with _no_larger_than(weights):
        module = build()
    module.load_state_dict(dict(weights))
    return module


class _TooLargeError(ValueError):
    """A module outgrows its weights."""


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Refuse parameters, in this thread, beyond what there are weights for, before they are given numbers."""
    thread = threading.get_ident()
    numbers, count = _SPARE * sum(each.numel() for each in weights.values()), _SPARE * len(weights)

    def note(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal numbers, count
        if parameter is None or threading.get_ident() != thread:
            return
        numbers, count = numbers - parameter.numel(), count - 1
        if numbers < 0 or count < 0:
            raise _TooLargeError("the configuration of a module that is larger than its weights")

    hook = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        hook.remove()
