"""How a network that was trained on plain flow matching is told the schedule: the weight w of every position.

    PositionTime    flow time per position, tau = t + w (1 - t): no new weights, a checkpoint stays one of theirs
    InputChannel    one more input of the projection of noisy actions, its weights zero at first
    SpareDimension  w in the last padded action dimension: no new weights, a checkpoint stays one of theirs
    Untold          not at all: for plain sampling, RTC, and everything that works on finished chunks

At w = 0 the first two are the pretrained network. The third is the pretrained network at a spare coordinate of 0, where
in training there was noise that meant nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from typing_extensions import Self

from segue.errors import SpecError
from segue.integrations.lerobot.policies.fields import Encoded, Theirs, architecture, velocity

PROJECTION = "action_in_proj"
CHANNEL = "channel"


class Conditioning(Protocol):
    """A way of telling a network the weights."""

    def prepare(self, theirs: Theirs, action: int) -> None:
        """Change the network of a policy so that it can be told; its own methods work as before.

        Args:
            theirs: Policy of LeRobot.
            action: Action dimensions of the robot.

        Raises:
            SpecError: The network cannot be told this way.
        """
        ...

    def velocity(self, theirs: Theirs, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """Estimate of ``E[A - e | x]``, shape (batch, horizon, width). t has shape (batch,), w (batch, horizon)."""
        ...


@dataclass(frozen=True)
class Untold:
    """The network as it is. Weights other than 0 are refused, for it would not know of them."""

    def prepare(self, theirs: Theirs, action: int) -> None:
        """Nothing to change."""

    def velocity(self, theirs: Theirs, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """Plain velocity.

        Raises:
            SpecError: A weight is not 0.
        """
        if bool(w.any()):
            raise SpecError(
                got="a strategy that starts from the previous chunk, on a network that was not trained to",
                expected="plain sampling, RTC, or a strategy that works on finished chunks",
                change="fine-tune it with a conditioning, InputChannel() or PositionTime(), and load what comes out",
            )
        return velocity(theirs, x, t, encoded)


@dataclass(frozen=True)
class PositionTime:
    """Flow time per position (pi0.5, whose normalisation layers are told the time).

    At ``tau = t + w (1 - t)`` the network estimates ``E[A - noise]``, and ``v = (1 - w) (A - noise)`` on the path of a
    reference that is right (`docs/derivations.md`). So a pretrained network already knows what a position of weight w
    means, and training teaches it that positions differ.
    """

    def prepare(self, theirs: Theirs, action: int) -> None:
        """Let the normalisation layers of the action expert take one time per position.

        Raises:
            SpecError: The network has no such layers.
        """
        if not architecture(theirs).per_position:
            raise SpecError(
                got=f"flow time per position for {theirs.config.type}",
                expected="a network with adaptive normalisation (pi05)",
                change="use InputChannel() or SpareDimension()",
            )
        for layer in theirs.modules():
            if getattr(layer, "cond_dim", None) is not None and not isinstance(layer.forward, partial):
                layer.forward = partial(per_position, layer.forward)

    def velocity(self, theirs: Theirs, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """``(1 - w) E[A - noise | x, tau]``."""
        if not bool(w.any()):  # one time for all, as it was trained: the pretrained function bit for bit
            return velocity(theirs, x, t, encoded)
        t = t[:, None]
        tau = t + w * (1 - t)
        return (1 - w)[..., None] * velocity(theirs, x, tau.flatten(), encoded)


def per_position(forward: Callable[..., tuple[Tensor, Tensor]], x: Tensor, cond: Tensor | None = None) -> Any:
    """Let a normalisation layer take one condition per sample as before, or one per position, in a row.

    With one per position, positions are handed to the layer's ``forward`` as samples of one position each.
    """
    if cond is None or len(cond) == len(x):
        return forward(x, cond)
    normed, gate = forward(x.flatten(0, 1)[:, None], cond)
    return normed.view_as(x), gate.view_as(x)


class ProjectionWithChannel(nn.Linear):
    """A projection with one more input, whose weights begin at zero. Without it the input is projected as before.

    Attributes:
        channel: Weights of the further input. Shape (out,).
    """

    channel: nn.Parameter

    @classmethod
    def around(cls, projection: nn.Linear) -> Self:
        """The same weights, and the channel."""
        wider = cls(projection.in_features, projection.out_features, bias=projection.bias is not None, device="meta")
        wider.weight, wider.bias = projection.weight, projection.bias
        wider.channel = nn.Parameter(torch.zeros_like(projection.weight[:, 0]))
        return wider

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) or (..., in + 1) to (..., out)."""
        projected = super().forward(input[..., : self.in_features])
        return projected + input[..., self.in_features :].to(self.channel) @ self.channel.expand(
            input.shape[-1] - self.in_features, -1
        )


@dataclass(frozen=True)
class InputChannel:
    """One more input per position (Legato appends w to its network's input, arXiv 2602.12978)."""

    def prepare(self, theirs: Theirs, action: int) -> None:
        """Widen the projection of noisy actions."""
        model = theirs.model
        projection = getattr(model, PROJECTION)
        if not isinstance(projection, ProjectionWithChannel):
            setattr(model, PROJECTION, ProjectionWithChannel.around(projection))

    def velocity(self, theirs: Theirs, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """The network's, with w beside the noisy actions."""
        return velocity(theirs, torch.cat([x, w[..., None].to(x)], -1), t, encoded)


@dataclass(frozen=True)
class SpareDimension:
    """The last padded action dimension carries w; needs a robot with fewer actions than the network has room for."""

    def prepare(self, theirs: Theirs, action: int) -> None:
        """Nothing to change.

        Raises:
            SpecError: There is no padded dimension.
        """
        width = theirs.config.max_action_dim
        if action >= width:
            raise SpecError(
                got=f"{action} action dimensions in a network of {width}",
                expected="a padded one to spare",
                change="use InputChannel()",
            )

    def velocity(self, theirs: Theirs, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """The network's, with w in the place of the last coordinate, which does not move."""
        told = torch.cat([x[..., :-1], w[..., None].to(x)], -1)
        v = velocity(theirs, told, t, encoded)
        return torch.cat([v[..., :-1], torch.zeros_like(v[..., -1:])], -1)


CONDITIONINGS: dict[str, Conditioning] = {
    "untold": Untold(),
    "position-time": PositionTime(),
    "input-channel": InputChannel(),
    "spare-dimension": SpareDimension(),
}
"""By the name that checkpoints note."""
