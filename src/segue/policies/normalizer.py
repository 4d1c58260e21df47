"""Per-dimension normalisation, stored with the weights of the policy that was trained with it."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class Normalizer(nn.Module):
    """``(x - mean) / scale`` per dimension. Buffers, so that checkpoints carry them.

    Attributes:
        mean: Shape (dimension,).
        scale: Shape (dimension,): standard deviation plus a floor, so that a dimension that never moves stays finite.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: ArrayLike, scale: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(np.asarray(mean, np.float32)))
        self.register_buffer("scale", torch.as_tensor(np.asarray(scale, np.float32)))

    @classmethod
    def fit(cls, values: np.ndarray, floor: float = 1e-2) -> "Normalizer":
        """Statistics over all axes but the last. ``floor`` is in the units of the values."""
        flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
        return cls(flat.mean(0), flat.std(0) + floor)

    @classmethod
    def identity(cls, size: int) -> "Normalizer":
        """Values as they are: where statistics are still to be loaded."""
        return cls(np.zeros(size), np.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised values, same shape."""
        return (x - self.mean) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Values in their own units, same shape."""
        return x * self.scale + self.mean
