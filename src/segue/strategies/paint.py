r"""PAINT: noise from which a plain policy makes the committed actions, found by going back (arXiv 2606.19774).

    noise -- N steps --> chunk -- paste the committed actions --> chunk -- N steps back --> noise'
    noise' on committed positions, noise on the others -- N steps --> the new chunk

Nothing is trained and nothing differentiated; the committed actions come out again about, not exactly.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import UnknownNameError
from segue.strategies.flow import Field, integrate, unguided
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights

Inversion = Literal["euler", "midpoint", "one-shot"]


def inverted(field: Field, chunk: Tensor, steps: int, inversion: Inversion) -> Tensor:
    """Follow the field from flow time 1 back to 0. Shape (batch, positions, dimension).

    A field is never asked at flow time 1, where a policy that estimates actions has no velocity: a step back is made
    with the velocity at the time at which it arrives.

    Args:
        field: The policy's velocity.
        chunk: Policy units, shape (batch, positions, dimension).
        steps: N.
        inversion: ``euler``, N evaluations; ``midpoint``, 2N; ``one-shot``, a single step of length 1 with the
            velocity at ``1 - 1/N``.
    """
    h = 1 / steps
    if inversion == "one-shot":
        return chunk - field(chunk, 1 - h)
    for k in reversed(range(steps)):
        velocity = field(chunk, k * h)
        if inversion == "midpoint":
            velocity = field(chunk - h / 2 * velocity, (k + 0.5) * h)
        chunk = chunk - h * velocity
    return chunk


@dataclass(frozen=True)
class PAINT(Strategy):
    """Repaints the committed positions from noise that leads to them.

    Attributes:
        inversion: ``euler`` (the paper; 3N evaluations per chunk), ``midpoint`` (4N) or ``one-shot`` (2N + 1).
    """

    inversion: Inversion = "euler"

    def __post_init__(self) -> None:
        if self.inversion not in get_args(Inversion):
            raise UnknownNameError("inversion", self.inversion, get_args(Inversion))

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        free, kept = no_weights(prefix), (prefix.weights(0, "step") >= 1)[..., None]

        def start(field: Field, noise: Tensor, steps: int) -> Tensor:
            if not kept.any():
                return noise
            first = integrate(field, noise, free, prefix.reference, steps=steps, guide=unguided)
            pasted = torch.where(kept, prefix.kinds.near(prefix.reference, first), first)
            return torch.where(kept, inverted(field, pasted, steps, self.inversion), noise)

        return Hooks(free, start=start)
