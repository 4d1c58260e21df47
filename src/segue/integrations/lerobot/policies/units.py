"""Between the robot and a policy of LeRobot: its own processors, asked rather than read.

    Observation -- their names, channels first --> preprocess (rename, normalise, tokenise) --> batch
    actions     <- scale x + offset (+ state, where actions are relative) -> chunk, padded to the network's width

Scale and offset are measured by processing zeros and ones, so that any affine normalisation of theirs, of any version,
is undone exactly as they do it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.core.observation import Observation
from segue.errors import SpecError
from segue.policies.policy import Units

STATE = "observation.state"
TASK = "task"

Batch = dict[str, Any]
Shown: TypeAlias = Observation[Tensor] | Mapping[str, Any]
"""What is seen, batch axis first, robot units: an `Observation`, or parts as LeRobot names them."""
Preprocess = Callable[[Batch], Batch]
"""A robot's observations, batch axis first, to what the network sees: names, normalisation, tokens, device."""
Postprocess = Callable[[Tensor], Tensor]
"""Normalised actions (batch, horizon, action) to those of the robot."""


def channels_first(observation: Mapping[str, Any]) -> Batch:
    """Pictures of bytes (batch, height, width, 3) as LeRobot has them: (batch, 3, height, width) in [0, 1]."""
    return {
        name: part.movedim(-1, -3).to(torch.float32) / 255
        if isinstance(part, Tensor) and part.dtype == torch.uint8
        else part
        for name, part in observation.items()
    }


class LeRobotUnits(nn.Module, Units):
    """Units of a policy of LeRobot.

    Args:
        preprocess: Their preprocessor.
        postprocess: Their postprocessor.
        horizon: H.
        state: Numbers of the robot's state.
        action: Action dimensions of the robot.
        width: Numbers per position of the network: the robot's actions, then zeros.
        cameras: Their names of pictures, by ours.
        rows: Positions that the network's sampler starts from, where they are more than H.

    Attributes:
        scale: Robot units per unit of the policy. Shape (action,).
        offset: Robot units of the policy's zero. Shape (action,).
        anchor: 1 where an action is relative to the state of the same index, else 0. Shape (action,).
    """

    stride = 1
    scale: Tensor
    offset: Tensor
    anchor: Tensor

    def __init__(
        self,
        preprocess: Preprocess,
        postprocess: Postprocess,
        *,
        horizon: int,
        state: int,
        action: int,
        width: int,
        cameras: Mapping[str, str] | None = None,
        rows: int | None = None,
    ) -> None:
        super().__init__()
        self.preprocess, self.postprocess = preprocess, postprocess
        self.cameras = dict(cameras or {})
        self.chunk_shape = rows or horizon, width
        for name, value in _measured(preprocess, postprocess, state, action).items():
            self.register_buffer(name, value.to(torch.float32), persistent=False)

    @property
    @override
    def device(self) -> torch.device:
        return self.scale.device

    @override
    def encode(self, observation: Shown) -> Batch:
        """What the network sees: their preprocessor's batch, of an observation or of parts under their names.

        Raises:
            SpecError: The observation is a vector, or lacks a part.
        """
        if isinstance(observation, Observation):
            missing = sorted(self.cameras.keys() - observation.pictures.keys())
            parts: Mapping[str, Any] = {
                STATE: observation.state,
                TASK: [observation.prompt] * len(observation.state),
                **{theirs: observation.pictures[name] for name, theirs in self.cameras.items() if name not in missing},
            }
        else:
            parts = observation if isinstance(observation, Mapping) else {}
            missing = sorted({STATE} - parts.keys())
        if missing:
            raise SpecError(
                got=f"an observation without {', '.join(missing)}",
                expected=f"an `Observation` with pictures of {', '.join(self.cameras) or 'nothing'}, "
                f"or parts as LeRobot names them, {STATE!r} and so on",
                change="observe all that the policy was trained on",
            )
        return self.preprocess(channels_first(parts))

    @override
    def to_policy(self, actions: Tensor, observation: Shown) -> Tensor:
        """Robot units (batch, horizon, action) to policy units (batch, horizon, width), padded with zeros."""
        chunk = (actions - self._anchored(observation, actions) - self.offset) / self.scale
        return nn.functional.pad(chunk, (0, self.chunk_shape[1] - chunk.shape[-1]))

    @override
    def to_robot(self, chunk: Tensor, observation: Shown) -> Tensor:
        actions = chunk[..., : len(self.scale)].to(torch.float32)
        return actions * self.scale + self.offset + self._anchored(observation, actions)

    def _anchored(self, observation: Shown, actions: Tensor) -> Tensor:
        """What relative actions are relative to. Shape (batch, 1, action), or zeros."""
        if not bool(self.anchor.any()):
            return torch.zeros_like(actions[:, :1])
        state = (observation.state if isinstance(observation, Observation) else observation[STATE]).to(actions)
        state = state if state.ndim == 2 else state[:, -1]
        return (state[:, : len(self.anchor)] * self.anchor)[:, None]


def _measured(preprocess: Preprocess, postprocess: Postprocess, state: int, action: int) -> dict[str, Tensor]:
    """Scale, offset and anchor of processors, double precision.

    Raises:
        SpecError: What they do to actions is not affine, or not the same at all positions of a chunk.
    """

    def processed(value: float, at: float) -> Tensor:
        preprocess({STATE: torch.full((1, state), at), TASK: [""]})  # relative actions are anchored to what was seen
        return postprocess(torch.full((1, 2, action), value, dtype=torch.float64)).double().cpu()

    offset = processed(0.0, 0.0)
    scale = processed(1.0, 0.0) - offset
    anchor = processed(0.0, 1.0) - offset
    expected = offset - 3.0 * scale + 2.0 * anchor
    tolerance = 1e-5 * float(1 + offset.abs().max())
    same = torch.allclose(offset[:, :1], offset[:, 1:]) and torch.allclose(scale[:, :1], scale[:, 1:])
    if not (same and torch.allclose(processed(-3.0, 2.0), expected, 1e-4, tolerance) and bool((scale != 0).all())):
        raise SpecError(
            got="a postprocessor that bends actions",
            expected="scale and offset per action dimension, as all normalisations of LeRobot are",
            change="leave out the step that is not, and apply it to finished actions",
        )
    return {"scale": scale[0, 0], "offset": offset[0, 0], "anchor": anchor[0, 0].round()}
