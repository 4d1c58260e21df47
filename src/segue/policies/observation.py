"""What a policy is shown: a vector, or named parts such as a state, pictures and a text.

one robot    (observation,)      {"observation.state": (state,), "observation.images.top": (h, w, 3), "task": text}
of_one       (1, observation)    each part with a batch axis of one; a text becomes a list of one
on_device    a tensor            tensors by name: numbers in single precision, pictures of bytes and texts as they are
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Seen: TypeAlias = NDArray[np.floating] | Mapping[str, Any]
"""An observation of one robot, or a batch of them with the batch axis first."""


def of_one(observation: Seen) -> Seen:
    """A batch of one."""
    if isinstance(observation, Mapping):
        return {name: part[None] if isinstance(part, np.ndarray) else [part] for name, part in observation.items()}
    return observation[None]


def on_device(observations: Seen, device: torch.device) -> Tensor | dict[str, Any]:
    """Tensors of a batch on a device."""
    if isinstance(observations, Mapping):
        return {name: _part(part, device) for name, part in observations.items()}
    return torch.as_tensor(observations, dtype=torch.float32, device=device)


def _part(part: Any, device: torch.device) -> Any:
    if not isinstance(part, np.ndarray | Tensor):
        return part
    tensor = torch.as_tensor(part, device=device)
    return tensor.to(torch.float32) if tensor.dtype == torch.float64 else tensor
