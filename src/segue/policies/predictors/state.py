r"""A predictor of states, learned from demonstrations, that goes as many single steps as are asked for.

    x_k     = ((o_k - m_o) / scale_o, (a_k - m_a) / scale_a)
    o_{k+1} = o_k + scale_d * (W x_k + b + f(x_k))

``scale_d`` is the standard deviation of one step's change per dimension, so that slow dimensions are learned as well as
fast ones. ``W, b`` are a regression of that change, in the dimensions where it says most of it, zero in the others, and
do not train; ``f`` is a network and learns the rest. Most of a robot's own motion is linear in state and action, and a
policy that sees positions of two moments needs their difference, the velocity, far more exactly than a network alone
gives it.

What a dimension is (`segue.core.dimensions`) decides what its difference is: an angle or a rotation begins near the
mean of the demonstrations and goes on from there without a jump. Binary and constant dimensions are not predicted: they
stay as they are seen, and count in no error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self, override

from segue.core.chunk import Array
from segue.core.dimensions import Dimensions
from segue.core.observation import state_of, with_state
from segue.errors import SpecError
from segue.policies.networks.features import zero_linear
from segue.policies.normalizer import Normalizer
from segue.policies.predictors.predictor import Measured, Predictor
from segue.policies.processor import anchors_of

Folded: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class StatePredictorConfig:
    """Describes a predictor but for its weights; plain JSON.

    Attributes:
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        dt: Control period that one step is meant for [s].
        width: Hidden units of each of the two layers.
        observation_kinds: The word of each observation dimension's kind; empty where all are linear.
        action_kinds: That of each action dimension.
        state_of_action: Per action dimension, the observation that an angle or a rotation is near to, or None; empty
            where there are none.
    """

    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    dt: float
    width: int = 256
    observation_kinds: tuple[str, ...] = ()
    action_kinds: tuple[str, ...] = ()
    state_of_action: tuple[int | None, ...] = ()


class StatePredictor(nn.Module, Predictor, Measured):
    """A linear model of one step, zero at first, and a network for the rest, with weights of torch's global generator.

    Attributes:
        change: Shape (observation,): standard deviation of one step's change, robot units.
        bounds: Shape (steps,): the error, in standard deviations, mean over dimensions, that predictions of 1, 2, ...
            steps rarely exceed on demonstrations that it has not learned from; infinite until that is measured.
    """

    change: Tensor
    bounds: Tensor

    def __init__(
        self, config: StatePredictorConfig, observation: Normalizer, action: Normalizer, change: Tensor, bounds: int
    ) -> None:
        super().__init__()
        self.config, self.observation, self.action = config, observation, action
        seen, acted = len(config.observation_names), len(config.action_names)
        self.kinds, self._acted = (Dimensions.of(*words) for words in (config.observation_kinds, config.action_kinds))
        self.kinds.check("observation", config.observation_names)
        self._acted.check("action", config.action_names)
        self._foreseen = [index for index in range(seen) if index not in self.kinds.steps]
        self.register_buffer("change", change)
        self.register_buffer("bounds", torch.full((bounds,), torch.inf))
        self.linear = zero_linear(seen + acted, seen).requires_grad_(False)  # fitted, not trained
        self.first = nn.Linear(seen + acted, config.width)
        last = zero_linear(config.width, seen)  # at first, the linear model alone
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(config.width, config.width), nn.SiLU(), last)
        self._kept: tuple[list[Any], Folded] | None = None

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.change.device

    def steps(self, state: Tensor, actions: Tensor) -> Iterator[Tensor]:
        """States one, two, ... steps ahead.

        What actions add to the first layers is computed for all steps at once, and units, the identity and the change
        of a step are in the weights: a step of one robot takes as long as its few operations do.

        Args:
            state: Shape (batch, observation), robot units.
            actions: Shape (batch, most, action), robot units.
        """
        seen = state.shape[-1]
        state, actions = self.unwound(state, actions)
        middle = cast("nn.Linear", self.rest[1])
        of_state, of_actions, bias, of_hidden = self._folded()
        added = self.action(actions) @ of_actions + bias
        for of_action in added.unbind(1):
            moved, hidden = torch.addmm(of_action, state, of_state).tensor_split([seen], dim=1)
            hidden = F.silu(F.linear(F.silu(hidden), middle.weight, middle.bias))
            moved = torch.addmm(moved, hidden, of_hidden)
            state = self.kinds.proper(self.kinds.stepped(moved, state))
            yield state

    def _folded(self) -> Folded:
        """Weights of state, actions, nothing and hidden units with the units in them, kept until one is changed."""
        last = cast("nn.Linear", self.rest[3])
        parts = self.change, self.linear.weight, self.linear.bias, self.first.weight, self.first.bias
        parts += last.weight, last.bias, self.observation.mean, self.observation.scale
        if any(each.requires_grad or each.is_inference() for each in parts):
            self._kept = None  # fused optimisers change weights without a trace, and so does inference mode
            return self._fold(last)
        # Whatever else changes a tensor in place counts its version up, and what puts another in its place moves it.
        state = [torch.is_inference_mode_enabled(), *((each.data_ptr(), each._version) for each in parts)]
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._fold(last)
        return self._kept[1]

    def _fold(self, last: nn.Linear) -> Folded:
        seen, change = len(self.change), self.change[:, None]
        weight = torch.cat([change * self.linear.weight, self.first.weight])
        of_state = weight[:, :seen] / self.observation.scale
        bias = torch.cat([self.change * (self.linear.bias + last.bias), self.first.bias])
        bias = bias - of_state @ self.observation.mean
        of_state = of_state + torch.eye(*of_state.shape, device=self.device)
        return of_state.T, weight[:, seen:].T, bias, (change * last.weight).T

    @override
    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._kept = None  # a tensor that is moved may come to lie where it lay before, with rounded numbers
        return super()._apply(fn, recurse)

    def unwound(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Unwind states and actions to numbers without a jump: a state near the mean, actions near what they are about.

        Args:
            state: Shape (batch, observation), robot units.
            actions: Shape (batch, most, action), robot units.
        """
        state = self.kinds.near(state, self.observation.mean)
        if not self._acted.plain:
            start = anchors_of(self.action.mean, state, self.config.state_of_action)
            actions = self._acted.continuous(actions, start)
        return state, actions

    def forward(self, state: Tensor, actions: Tensor, steps: Tensor) -> Tensor:
        """States some steps ahead.

        Args:
            state: Shape (batch, observation), robot units.
            actions: Shape (batch, most, action), robot units.
            steps: Shape (batch,), integer, at most ``most``.
        """
        fewest, most = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
        seen = state
        for j, moved in enumerate(self.steps(state, actions[:, :most])):
            state = moved if j < fewest else torch.where((j < steps)[:, None], moved, state)
        return self.kinds.near(state, seen)

    @override
    @torch.no_grad()
    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        """Predict the state; pictures stay what they are.

        Raises:
            SpecError: States or actions have other dimensions than those that were learned.
        """
        self.check(state_of(observed), actions)
        tensors = [
            torch.as_tensor(each, dtype=torch.float32, device=self.device) for each in (state_of(observed), actions)
        ]
        predicted = self(*tensors, torch.as_tensor(steps, device=self.device))
        return with_state(observed, predicted.cpu().numpy())

    def check(self, state: Any, actions: Array) -> None:
        """Raise `SpecError` unless states (..., observation) and actions (..., action) have the dimensions learned."""
        expected = len(self.config.observation_names), len(self.config.action_names)
        if (np.shape(state)[-1], actions.shape[-1]) != expected:
            raise SpecError(
                got=f"states of {np.shape(state)[-1]} and actions of {actions.shape[-1]} dimensions",
                expected=f"{expected[0]} and {expected[1]}, as the predictor has learned from",
                change="use the predictor of this policy's demonstrations",
            )

    def error(self, predicted: Tensor, state: Tensor) -> Tensor:
        """Mean over dimensions of the distance, in standard deviations of the demonstrations. Shape (batch,)."""
        return self.apart(predicted, state, self.observation.scale)

    def apart(self, one: Tensor, other: Tensor, unit: Tensor) -> Tensor:
        """Mean of the distance in a unit per dimension, over those that are predicted. Shape (batch,)."""
        each = (self.kinds.difference(one, other) / unit).abs()
        if not self.kinds.steps:
            return each.mean(-1)
        return each[..., self._foreseen].sum(-1) / max(len(self._foreseen), 1)

    @override
    @torch.no_grad()
    def surprise(self, before: Array, executed: Array, steps: NDArray[np.int64], now: Array) -> NDArray[np.float64]:
        """Divide the error by the bound of as many steps."""
        self.check(before, executed)
        count = torch.as_tensor(steps, device=self.device)
        tensors = [torch.as_tensor(each, dtype=torch.float32, device=self.device) for each in (before, executed, now)]
        error = self.error(self(tensors[0], tensors[1], count), tensors[2])
        bound = self.bounds[(count - 1).clamp(0, len(self.bounds) - 1)]
        return torch.where(count > 0, error / bound, 0.0).double().cpu().numpy()
