"""Prepares observations for a policy, from one robot to tensors of a batch.

one robot    (observation,)      Observation: (state,), pictures (h, w, 3), a text
of_one       (1, observation)    each with a batch axis of one; `first_of` takes it away
on_device    a tensor            tensors: numbers in single precision, pictures of bytes as they are

A mapping of named parts is passed on in the same way, to policies that want one; a text in it becomes a list of one. So
is what is encoded already.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segue.core.observation import Encoded, Observation, stacked

Seen: TypeAlias = NDArray[np.floating] | Observation[Any] | Encoded[Any] | Mapping[str, Any]
"""An observation of one robot, or a batch of them with the batch axis first."""


def of_one(observation: Seen) -> Seen:
    """Make a batch of one."""
    if isinstance(observation, Mapping):
        return {name: part[None] if isinstance(part, np.ndarray) else [part] for name, part in observation.items()}
    return stacked([observation])


def first_of(observations: Seen) -> Seen:
    """Take the observation of the first robot of a batch; undoes `of_one`."""
    if isinstance(observations, Mapping):
        return {name: part[0] for name, part in observations.items()}
    return observations[0]


def repeated(observations: Any, times: int) -> Any:
    """Put all observations of a batch of tensors into it so many times, one batch after the other."""
    if times == 1:
        return observations
    if isinstance(observations, Mapping):
        return {name: _repeated(part, times) for name, part in observations.items()}
    return observations[torch.arange(len(observations)).repeat(times)]


def _repeated(part: Any, times: int) -> Any:
    return torch.cat([part] * times) if isinstance(part, Tensor) else [*part] * times


def on_device(observations: Seen, device: torch.device) -> Any:
    """Turn a batch into tensors on a device."""
    if isinstance(observations, Encoded):
        return Encoded(on_device(observations.context, device), on_device(observations.state, device))
    if isinstance(observations, Observation):
        pictures = {name: _part(picture, device) for name, picture in observations.pictures.items()}
        return Observation(on_device(observations.state, device), pictures, observations.prompt)
    if isinstance(observations, Mapping):
        return {name: _part(part, device) for name, part in observations.items()}
    return torch.as_tensor(observations, dtype=torch.float32, device=device)


def _part(part: Any, device: torch.device) -> Any:
    if not isinstance(part, np.ndarray | Tensor):
        return part
    tensor = torch.as_tensor(part, device=device)
    return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
