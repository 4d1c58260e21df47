r"""Chunks that are made for the moment when they are executed.

    step              k            k+d
    seen              o_k
    committed         a_k ........ a_{k+d-1}          actions of the executing chunk
    predicted                      o'_{k+d}           predictor(o_k, a_k .. a_{k+d-1})
    new chunk         a_k ........ | policy(o'_{k+d}), d steps fewer of it

A chunk that is asked for at step k takes over at k+d. What spoils it is less the seam than that the world has moved on
by then. A predictor rolls the observation forward over the actions that are committed anyway; the policy then makes its
chunk for k+d, with the prefix counted from there and nothing committed any more. The chunk keeps its start k, its first
d positions are the committed actions, so that a plan needs to know nothing of it, be the chunk early or late.

This is delay compensation by a model of the process (Smith 1957), with the policy in the controller's place
(`docs/derivations.md`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from segue.core.chunk import Array, ChunkPolicy, Continuation, Predicting, hold_last
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import state_of, with_state
from segue.errors import SpecError
from segue.policies.chunk_policy import PolicyAround, finished
from segue.policies.observation import Seen, first_of, of_one
from segue.policies.policy import Policy
from segue.strategies.hooks import Strategy


class Predictor(Protocol):
    """A model of what is observed some steps ahead under given actions."""

    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        """Predict what will be observed, robot units.

        Args:
            observed: What is observed now, batch axis first: states (batch, observation), or an `Observation`.
            actions: Shape (batch, most, action), robot units; those beyond ``steps`` are not looked at.
            steps: Shape (batch,), how many of the actions are executed; where it is 0, nothing changes, to the bit.

        Returns:
            In the form of ``observed``, or as anything that the policy takes in its place.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """A predictor that knows how wrong it is on what it has not learned from."""

    def surprise(self, before: Array, executed: Array, steps: NDArray[np.int64], now: Array) -> NDArray[np.float64]:
        """Measure how far an observation is from its prediction, 1 being the bound of what is usual. Shape (batch,).

        Args:
            before: States that were seen, shape (batch, observation).
            executed: What was executed since, shape (batch, most, action).
            steps: Shape (batch,), how many of these.
            now: States that are seen now, shape (batch, observation).
        """
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A chunk policy that says which states it has made its chunks of."""

    @property
    def predictions(self) -> Array:
        """Predicted states of the last call, robot units, shape (batch, observation); NaN where none was predicted.

        Where nothing was predicted of any, or what is predicted are no states, the shape is (batch, 0).
        """
        ...


@dataclass(frozen=True)
class CommandedState(Predictor):
    """The robot's own dimensions as they are commanded, all else as it is seen (VLASH, arXiv 2512.01031).

    Nothing has to be learned, and nothing but the robot itself is foreseen.

    Attributes:
        replaced: Observation dimension by action dimension that commands a target for it, in the same unit.
        advanced: Observation dimension by action dimension that commands a displacement of it, in the same unit.
        kinds: What each observation dimension is: an angle is told near the one that is seen.
    """

    replaced: Mapping[int, int]
    advanced: Mapping[int, int] = field(default_factory=dict)
    kinds: Dimensions = LINEAR

    @classmethod
    def of(cls, policy: Policy) -> "CommandedState":
        """For a policy whose actions are targets, relative to the states that it names.

        Raises:
            SpecError: It names none.
        """
        anchors: Sequence[int | None] = getattr(policy.units, "relative_to", ())
        replaced = {i: index for i, index in enumerate(anchors) if index is not None}
        if not replaced:
            raise SpecError(
                got="a policy of absolute actions, which does not say what they command",
                expected="actions relative to the observed state",
                change="train with --relative, or use the learned predictor",
            )
        return cls(replaced, kinds=policy.spec.observation_kinds)

    @override
    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        seen = np.asarray(state_of(observed))
        state = seen.copy()
        moved = np.flatnonzero(steps)
        for action, index in self.replaced.items():
            state[moved, index] = actions[moved, steps[moved] - 1, action]
        executed = np.arange(actions.shape[1]) < steps[:, None]
        for action, index in self.advanced.items():
            state[moved, index] += np.where(executed, actions[..., action], 0).sum(1)[moved]
        return with_state(observed, self.kinds.near(state, seen))


class PredictivePolicy(PolicyAround, Predicting, Foreseeing):
    """Any chunk policy, its chunks made for the step at which they take over.

    Where the observations of a robot are farther from what was predicted than is usual (see `Measured`), its next chunk
    is made of what is observed, as without a predictor.

    Args:
        policy: Makes the chunks; may serve one robot or many.
        predictor: Of its observations.
        finishing: Strategy whose finishing hook works on whole chunks, committed actions first; None for none.
        guard: Compare, and doubt predictions that are surprising.
    """

    def __init__(
        self, policy: ChunkPolicy, predictor: Predictor, *, finishing: Strategy | None = None, guard: bool = True
    ) -> None:
        super().__init__(policy)
        self.predictor, self.finishing = predictor, finishing
        self._doubts = predictor if guard and isinstance(predictor, Measured) else None
        self._surprises = np.zeros(0)
        self._predictions = np.zeros((0, 0), np.float32)

    @property
    @override
    def surprises(self) -> NDArray[np.float64]:
        return self._surprises

    @property
    @override
    def predictions(self) -> Array:
        return self._predictions

    @override
    def next_chunk(self, observation: Seen, continuation: Continuation) -> Array:
        batch = of_one(observation)
        steps = self._steps([continuation], batch)
        if steps.any():
            observation = first_of(self._predicted(batch, [continuation], steps))
        chunk = self.policy.next_chunk(observation, continuation.ahead(int(steps[0])))
        return self._completed(chunk[None], [continuation], steps)[0]

    @override
    def next_chunks(
        self, observations: Seen, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        steps = self._steps(continuations, observations)
        if steps.any():
            observations = self._predicted(observations, continuations, steps)
        later = [each.ahead(int(count)) for each, count in zip(continuations, steps, strict=True)]
        return self._completed(self.chunks_below(observations, later, generators), continuations, steps)

    def _steps(self, continuations: Sequence[Continuation], observations: Seen) -> NDArray[np.int64]:
        """Count the steps that each robot's observation is predicted; 0 for one that has been surprising."""
        steps = np.array([each.committed for each in continuations], np.int64)
        self._surprises = np.full(len(steps), np.nan)
        self._predictions = np.full((len(steps), 0), np.nan, np.float32)
        known = [i for i, each in enumerate(continuations) if each.past is not None]
        if self._doubts is not None and known:
            pasts = [past for each in continuations if (past := each.past) is not None]
            counts = np.array([len(past.executed) for past in pasts], np.int64)
            self._surprises[known] = self._doubts.surprise(
                np.stack([past.state for past in pasts]),
                _padded([past.executed for past in pasts], counts),
                counts,
                np.asarray(state_of(observations))[known],
            )
        return np.where(self._surprises > 1, 0, steps)

    def _predicted(self, observations: Any, continuations: Sequence[Continuation], steps: NDArray[np.int64]) -> Any:
        predicted = self.predictor.ahead(observations, _padded([each.prefix for each in continuations], steps), steps)
        if isinstance(states := state_of(predicted), np.ndarray):
            self._predictions = np.where((steps > 0)[:, None], states, np.float32(np.nan))
        return predicted

    def _completed(self, chunks: Array, continuations: Sequence[Continuation], steps: NDArray[np.int64]) -> Array:
        """Complete the chunks: the committed actions, then those that were made for after them."""
        horizon = chunks.shape[1]
        whole = [
            np.concatenate([each.prefix[:count], chunk])[:horizon] if count else chunk
            for each, count, chunk in zip(continuations, steps, chunks, strict=True)
        ]
        actions = np.stack(whole)
        if self.finishing is None:
            return actions
        return finished(self.finishing, torch.as_tensor(actions), continuations, self.spec.action_kinds).numpy()


def _padded(actions: Sequence[Array], steps: NDArray[np.int64]) -> Array:
    """The first ``max(steps)`` actions of each, the last one held. Shape (batch, most, action)."""
    return np.stack([hold_last(each, max(int(steps.max()), 1)) for each in actions])
