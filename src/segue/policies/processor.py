"""Between robot units and those of a policy, the part that policies of every family hold.

Robot units stay outside: observations are normalised on the way in, and actions both ways, anchored to the observation
at hand where they are relative to it.

What a dimension is (`segue.core.dimensions`) is seen to at this door: inside, an angle or a rotation is a path of plain
numbers without a jump, which begins near the state that it is relative to, or near the mean of the demonstrations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.core.chunk import Array
from segue.core.dimensions import Dimensions, Kind
from segue.core.observation import Encoded, state_of
from segue.core.spec import PolicySpec
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import SpecError
from segue.policies.config import FamilyConfig, Vision
from segue.policies.encoders import settled
from segue.policies.encoders.pictures import Sight
from segue.policies.encoders.pretrained import Pretrained
from segue.policies.normalizer import Normalizer
from segue.policies.policy import PredictableUnits

_RELATIVE = ("linear", "angle", "gripper")
"""Kinds of actions that are learned relative to a state."""


class NormalizedUnits(nn.Module, PredictableUnits):
    """Units of the policies in action space: one position per control step.

    Args:
        config: Of the policy.
        observation: Normalisation of observations.
        action: Normalisation of actions, after they are anchored.

    Attributes:
        context: Numbers that an observation is encoded to.
        relative_to: See `FamilyConfig.relative_to`.
    """

    stride = 1

    def __init__(self, config: FamilyConfig, observation: Normalizer, action: Normalizer) -> None:
        super().__init__()
        self.observation, self.action = observation, action
        spec = config.spec
        self._names, self.relative_to = spec.observation_names, config.relative_to
        self._actions, self._observations = spec.action_kinds, spec.observation_kinds
        self.chunk_shape = spec.chunk_shape
        self.sight = None if config.vision is None else Sight(config.vision, spec.cameras)
        self.context = len(spec.observation_names) + (0 if self.sight is None else self.sight.features)

    @classmethod
    def fitted(cls, config: FamilyConfig, observations: Array, chunks: Array) -> "NormalizedUnits":
        """Normalisation fitted to demonstrations, and an encoder that is ready to learn.

        Args:
            config: Of the policy.
            observations: Shape (frames, observation).
            chunks: Shape (frames, horizon, action), anchored as ``config.relative_to`` says.
        """
        observations = config.spec.observation_kinds.about_mean(observations)
        units = cls(config, Normalizer.fit(observations), Normalizer.fit(chunks))
        if units.sight is not None:
            units.sight.encoder.start()
        return units

    @classmethod
    def blank(cls, config: FamilyConfig) -> "NormalizedUnits":
        """Statistics still to be loaded."""
        sizes = len(config.spec.observation_names), len(config.spec.action_names)
        return cls(config, *map(Normalizer.identity, sizes))

    @property
    @override
    def device(self) -> torch.device:
        return self.action.mean.device

    @override
    def encode(self, observation: Any) -> Tensor:
        """Put the normalised state before the features of the pictures. Shape (batch, context)."""
        if isinstance(observation, Encoded):
            return self._context(observation.context)
        state = self.observation(self._observations.near(self._state(observation), self.observation.mean))
        return state if self.sight is None else torch.cat([state, self.sight(observation)], dim=1)

    @override
    def state(self, context: Tensor) -> Tensor:
        return self.observation.inverse(self._context(context)[:, : len(self._names)])

    @override
    def augmented(self, observation: Any, generator: torch.Generator) -> Any:
        return observation if self.sight is None else self.sight.cut_anywhere(observation, generator)

    @property
    @override
    def frozen(self) -> Pretrained | None:
        return None if self.sight is None else self.sight.frozen

    @override
    def to_policy(self, actions: Tensor, observation: Any) -> Tensor:
        state = self._state(observation)
        if self._actions.kinds:
            actions = self._actions.continuous(actions, anchors_of(self.action.mean, state, self.relative_to))
        return self.action(shifted(actions, state, self.relative_to, -1))

    @override
    def to_robot(self, chunk: Tensor, observation: Any) -> Tensor:
        return self._actions.proper(shifted(self.action.inverse(chunk), self._state(observation), self.relative_to, 1))

    @property
    @override
    def kinds(self) -> Dimensions:
        if not self._actions.kinds:
            return self._actions
        return self._actions.without_rotations().scaled(self.action.scale.tolist())

    @property
    @override
    def context_kinds(self) -> Dimensions:
        state = self._observations.without_rotations().scaled(self.observation.scale.tolist())
        return Dimensions((*state.kinds, *(Kind(),) * (self.context - len(state.kinds)))) if state.kinds else state

    def _state(self, observation: Any) -> Tensor:
        state = state_of(observation)
        check_observation(state, self._names)
        return state

    def _context(self, context: Tensor) -> Tensor:
        if context.ndim != 2 or context.shape[1] != self.context:
            raise SpecError(
                got=f"contexts of shape {tuple(context.shape)}",
                expected=f"(batch, {self.context}), as this policy encodes observations",
                change="give the policy what its own units have encoded",
            )
        return context


def check_observation(observation: Tensor, names: Sequence[str]) -> None:
    """Raise `SpecError` unless the observation has shape (batch, observation)."""
    expected = len(names)
    if observation.ndim != 2 or observation.shape[1] != expected:
        raise SpecError(
            got=f"observations of shape {tuple(observation.shape)}",
            expected=f"(batch, {expected}): {', '.join(names[:6])}" + (" ..." if expected > 6 else ""),
            change="give the policy the observation that it was trained on, in the same order",
        )


def shifted(actions: Tensor, observation: Tensor, relative_to: Sequence[int | None], sign: int) -> Tensor:
    """Add to actions ``sign`` times the observation that each is relative to. (batch, horizon, action).

    Args:
        actions: Shape (batch, horizon, action).
        observation: Shape (batch, observation), robot units.
        relative_to: Per action dimension, the index of its observation, or None for an absolute action.
        sign: 1 or -1.
    """
    relative = [i for i, index in enumerate(relative_to) if index is not None]
    if not relative:
        return actions
    anchor = [index for index in relative_to if index is not None]
    actions = actions.clone()
    actions[..., relative] += sign * observation[:, None, anchor]
    return actions


def anchors_of(mean: Tensor, observation: Tensor, relative_to: Sequence[int | None]) -> Tensor:
    """Choose the value that each first action of a chunk is near: the observation that it is relative to, or the mean.

    Args:
        mean: Shape (action,), of the actions, robot units.
        observation: Shape (batch, observation), robot units.
        relative_to: See `shifted`.

    Returns:
        Shape (batch, action).
    """
    near = mean.expand(len(observation), -1).clone()
    for action, index in enumerate(relative_to):
        if index is not None:
            near[:, action] = observation[:, index]
    return near


def demonstrated_chunks(episodes: Episodes, horizon: int, relative_to: Sequence[int | None]) -> Array:
    """All windows of the demonstrations as a policy sees them before normalisation. (frames, horizon, action)."""
    anchors = [0 if index is None else index for index in relative_to]
    relative = np.array([index is not None for index in relative_to])
    chunks, kinds = Windows(episodes, horizon).actions, episodes.action_kinds
    if kinds.kinds:
        mean = kinds.mean(episodes.action).astype(np.float32)
        chunks = kinds.continuous(chunks, np.where(relative, episodes.observation[:, anchors], mean))
    return chunks - (episodes.observation[:, anchors] * relative)[:, None]


def described(
    episodes: Episodes, *, horizon: int, relative: bool, vision: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Fill in the fields of a policy's configuration that demonstrations decide.

    The arguments are those of `config_for`. Relative are those actions alone whose difference to their state is one of
    plain numbers: linear dimensions, angles and grippers.
    """
    kinds = episodes.action_kinds.each(len(episodes.action_names))
    anchors = [
        index if relative and kind.name in _RELATIVE else None
        for index, kind in zip(episodes.state_of_action, kinds, strict=True)
    ]
    spec = PolicySpec(
        horizon, episodes.dt, tuple(episodes.observation_names), tuple(episodes.action_names), episodes.cameras,
        episodes.action_kinds, episodes.observation_kinds,
    )  # fmt: skip
    return {"spec": spec, "relative_to": tuple(anchors), "vision": _vision(vision or {}) if episodes.pictures else None}


def _vision(given: Mapping[str, Any]) -> Vision:
    try:
        vision = Vision(**given)
    except TypeError as error:
        raise SpecError(got=str(error), expected="fields of `Vision`", change="leave it out, or correct it") from error
    return replace(vision, settings=settled(vision.encoder, vision.settings))
