"""Real-time chunking: guidance of a plain flow policy towards the previous chunk (arXiv 2506.07339).

Per solver step, with the estimate ``Ahat = x + (1 - t) v`` and the soft mask W:

    v <- v + min(beta, g(t)) J^T [W (reference - Ahat)],     J = d Ahat / d x
    g(t) = (1 - t) / (t r^2),    r^2 = (1 - t)^2 / (t^2 + (1 - t)^2)

The paper takes J by a vector-Jacobian product through the denoiser. LeRobot's implementation evaluates the velocity
outside of the graph, which makes J the identity. They are different methods and both are here by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import override

from segue.strategies.flow import Field, Step, estimate
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights
from segue.strategies.weights import Shape


class Jacobian(Protocol):
    """Carries the error of the estimate back to the noisy actions."""

    def __call__(
        self, field: Field, x: Tensor, t: float, error: Callable[[Tensor], Tensor], /
    ) -> tuple[Tensor, Tensor]:
        """Velocity at x, and ``J^T error(Ahat)``."""
        ...


def vjp(field: Field, x: Tensor, t: float, error: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """``J^T e`` through the denoiser, e held constant (arXiv 2506.07339, eq. 2). One backward pass to the input.

    Works under `torch.no_grad` and `torch.inference_mode`, which policies are usually called in.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().requires_grad_(True)
        velocity = field(leaf, t)
        guess = estimate(leaf, t, velocity)
        # the error is a constant of the product: only the estimate is differentiated
        (correction,) = torch.autograd.grad(guess, leaf, error(guess.detach()))
    return velocity.detach(), correction


def identity(field: Field, x: Tensor, t: float, error: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """J taken as the identity, as LeRobot's implementation does. No backward pass."""
    velocity = field(x, t)
    return velocity, error(estimate(x, t, velocity))


def guidance_gain(t: float, clip: float) -> float:
    """``min(beta, (1 - t) / (t r^2))`` (arXiv 2506.07339, eq. 4); beta at t = 0, where the ratio is infinite.

    At t = 1 the chunk is finished and nothing is left to be guided: 0, although the ratio is infinite there too. What
    an integrator's rounding makes of both ends is taken as the end.
    """
    if t >= 1:
        return 0.0
    return clip if t <= 0 else min(clip, (t**2 + (1 - t) ** 2) / (t * (1 - t)))


@dataclass(frozen=True)
class RTC(Strategy):
    """Guided sampling of a plain flow policy.

    Attributes:
        jacobian: `vjp` (the paper) or `identity` (LeRobot).
        clip: beta, the largest gain. The paper's is 5.
        shape: Soft mask over the overlap: ``exponential`` (the paper), ``linear``, or ``step`` (committed part only).
        ramp_seconds: For how long after the committed part the previous chunk is held to, less and less; None takes
            the whole overlap, as the paper.
    """

    jacobian: Jacobian = vjp
    clip: float = 5.0
    shape: Shape = "exponential"
    ramp_seconds: float | None = None

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        ramp = None if self.ramp_seconds is None else round(self.ramp_seconds / prefix.dt)
        mask = prefix.weights(ramp, self.shape)[..., None]

        def guide(field: Field, x: Tensor, step: Step) -> Tensor:
            # the difference is taken as the kinds have it: an angle is pulled the shorter way round
            velocity, correction = self.jacobian(
                field, x, step.t, lambda guess: mask * prefix.kinds.difference(prefix.reference, guess)
            )
            return velocity + guidance_gain(step.t, self.clip) * correction

        return Hooks(no_weights(prefix), guide=guide)
