"""Our noise for policies that LeRobot samples itself: what `predict_action_chunk(batch, noise=...)` starts from.

    SmolVLA, pi0, pi0.5     (1, chunk_size, max_action_dim), padded dimensions included
    ours                    (1, positions, dimension), also of a latent space
    others                  have no such argument, or none that is known here

The noise of a chunk is a tensor of its own: SmolVLA's sampler has written into the one that it was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from segue.core.chunk import Continuation
from segue.errors import SpecError
from segue.integrations.lerobot.policies.fields import FLOW, Theirs
from segue.policies.noise import Noise


class NoiseShape(NamedTuple):
    """What a policy starts from.

    Attributes:
        positions: Of a chunk.
        dimension: Numbers per position.
        stride: Control steps per position.
    """

    positions: int
    dimension: int
    stride: int = 1


def noise_shape(policy: Theirs) -> NoiseShape:
    """Of the noise that a policy's `predict_action_chunk` takes.

    Raises:
        SpecError: It takes none.
    """
    said: Any = getattr(policy, "noise_shape", None)
    if isinstance(said, NoiseShape):
        return said
    if policy.name in FLOW:
        return NoiseShape(policy.config.chunk_size, policy.config.max_action_dim)
    raise SpecError(
        got=f"noise for a {policy.name} policy, which takes none",
        expected=f"a policy of type {', '.join(FLOW)}, or one of Segue's",
        change="leave out --inference.noise, noise_scale and noise_share",
    )


@dataclass(frozen=True)
class NoiseFor:
    """Noise for the chunks of one policy.

    Attributes:
        noise: Where chunks start from.
        shape: What the policy takes.
    """

    noise: Noise
    shape: NoiseShape

    def draw(self, continuation: Continuation, device: torch.device) -> Tensor:
        """For one chunk, a tensor of its own. Shape (1, positions, dimension); seeded by `torch.manual_seed`."""
        positions, dimension, stride = self.shape
        return self.noise.draw((positions, dimension), stride, [continuation], [torch.default_generator]).to(device)


@dataclass(frozen=True, eq=False)
class GivenNoise(Noise):
    """Noise that whoever asks has drawn.

    Attributes:
        noise: Shape (batch, positions, dimension).
        scale: Of no effect: the noise is taken as it is.
    """

    noise: Tensor
    scale: float = 1.0

    @override
    def draw(
        self,
        shape: tuple[int, int],
        stride: int,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """A copy of it.

        Raises:
            SpecError: It has another shape.
        """
        expected = (len(continuations), *shape)
        if tuple(self.noise.shape) != expected:
            raise SpecError(
                got=f"noise of shape {tuple(self.noise.shape)}",
                expected=f"(batch, positions, dimension) = {expected}",
                change="draw it in the policy's `noise_shape`",
            )
        return self.noise.clone()
