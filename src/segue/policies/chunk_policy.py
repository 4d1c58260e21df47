"""Chunk policies: what a runtime asks, answered by a policy with a strategy, and policies around other ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from segue.core.chunk import (
    Array,
    ChunkPolicy,
    Continuation,
    Gathering,
    Predicting,
    Remembering,
    Unfolding,
    hold_last,
    is_stateless,
)
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import stacked
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.policies.noise import FreshNoise, Noise
from segue.policies.observation import Seen, of_one, on_device, repeated
from segue.policies.policy import Observed, Policy
from segue.strategies.hooks import Choosing, Prefix, Strategy


@runtime_checkable
class BatchChunkPolicy(Protocol):
    """A chunk policy that serves many robots in one call."""

    def next_chunks(
        self, observations: Any, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        """Actions (batch, horizon, action) for `Observed` of a batch; robot i draws from its own generator.

        Raises:
            SpecError: Observations or prefixes do not fit the policy, or it serves one robot only.
        """
        ...


@runtime_checkable
class UnfoldingBatch(Protocol):
    """A chunk policy for many robots that may say the first actions of chunks before the last ones are made."""

    def next_parts(
        self, observations: Any, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[float, NDArray[np.int64], Array]]:
        """Yield chunks whenever more of their actions are finished, and last what `BatchChunkPolicy.next_chunks` is.

        Yields:
            The share of the inference that is done; the leading actions of each chunk that are finished, (batch,); the
            actions, (batch, horizon, action).
        """
        ...


class ServingPolicy(ChunkPolicy, BatchChunkPolicy, Protocol):
    """A chunk policy for one robot or many, such as `ContinuingPolicy`."""


def _held(continuations: Sequence[Continuation], horizon: int) -> Array:
    return np.stack([hold_last(c.prefix, horizon) for c in continuations])


def _prefix(reference: Tensor, continuations: Sequence[Continuation], horizon: int, **known: Any) -> Prefix:
    """Put continuations beside their reference, (batch, positions, dimension) in any units."""
    votes = np.zeros((len(continuations), horizon), np.int64)  # nobody has spoken yet about what is beyond a prefix
    for row, c in zip(votes, continuations, strict=True):
        spoken = c.votes[:horizon]
        row[: len(spoken)] = spoken

    def integers(values: list[int]) -> Tensor:
        return torch.tensor(values, device=reference.device)

    return Prefix(
        reference=reference,
        known=integers([min(c.known, horizon) for c in continuations]),
        delay=integers([c.delay for c in continuations]),
        votes=torch.as_tensor(votes, device=reference.device),
        **known,
    )


def prefix_of(policy: Policy, observation: Observed, continuations: Sequence[Continuation]) -> Prefix:
    """Translate continuations to policy units, anchored to the observation of now, batch axis first.

    Raises:
        SpecError: A prefix has another number of action dimensions than the policy.
    """
    horizon, names = policy.spec.horizon, policy.spec.action_names
    for c in continuations:
        if c.prefix.ndim != 2 or c.prefix.shape[1] != len(names):
            raise SpecError(
                got=f"a prefix of shape {c.prefix.shape}",
                expected=f"(known, {len(names)}): {', '.join(names[:6])}" + (" ..." if len(names) > 6 else ""),
                change="continue chunks of this policy's own actions, in robot units",
            )
    units = policy.units
    reference = torch.as_tensor(_held(continuations, horizon), dtype=torch.float32, device=units.device)
    said = {"stride": units.stride, "dt": policy.spec.dt, "kinds": units.kinds}
    return _prefix(units.to_policy(reference, observation), continuations, horizon, **said)


class ContinuingPolicy(ServingPolicy, Unfolding, UnfoldingBatch):
    """A policy and a strategy, as a chunk policy.

    Args:
        policy: Trained policy of any family.
        strategy: How chunks are continued.
        denoising_steps: N; the policy's own number by default.
        seed: Of the noise that `next_chunk` draws.
        finishing: Strategy whose finishing hook then works on the actions in robot units, decoded ones of a latent
            policy too; None for none.
        noise: Where chunks start from; a family without noise ignores it.
    """

    stateless = True
    """It has no memory: all that is continued comes with the continuation."""

    def __init__(
        self,
        policy: Policy,
        strategy: Strategy,
        *,
        denoising_steps: int | None = None,
        seed: int = 0,
        finishing: Strategy | None = None,
        noise: Noise = FreshNoise(),  # noqa: B008  # a frozen value
    ) -> None:
        self.policy, self.strategy, self.finishing, self.noise = policy.eval(), strategy, finishing, noise
        self.denoising_steps = policy.denoising_steps if denoising_steps is None else denoising_steps
        self._generator = torch.Generator().manual_seed(seed)

    @property
    @override
    def spec(self) -> PolicySpec:
        return self.policy.spec

    @override
    def next_chunk(self, observation: Seen, continuation: Continuation) -> Array:
        return self.next_chunks(of_one(observation), [continuation], [self._generator])[0]

    @override
    def next_chunks(
        self, observations: Seen, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        # Guidance may differentiate through the network, which tensors of inference mode do not allow.
        with torch.inference_mode(False), torch.no_grad():
            observation, asked = self._asked(observations, continuations, generators)
            chunk = self.policy.continue_chunk(self.strategy, *asked, self.denoising_steps)
            return self._actions(chunk, observation, continuations)

    @override
    def parts(self, observation: Seen, continuation: Continuation) -> Iterator[Array]:
        for _, counts, actions in self.next_parts(of_one(observation), [continuation], [self._generator]):
            yield actions[0, : counts[0]]

    @override
    @torch.inference_mode(False)
    @torch.no_grad()
    def next_parts(
        self, observations: Seen, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[float, NDArray[np.int64], Array]]:
        observation, asked = self._asked(observations, continuations, generators)
        for share, counts, chunk in self.policy.unfold(self.strategy, *asked, self.denoising_steps):
            if self.finishing is None or share == 1:
                actions = self._actions(chunk, observation, continuations)
                yield share, counts.cpu().numpy() * self.policy.units.stride, actions

    def _asked(
        self, observations: Seen, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> tuple[Observed, tuple[Observed, Prefix, Tensor]]:
        """What is seen, and what the policy is asked with: the same, prefixes and noise, once for each draw."""
        draws, device = self.strategy.draws if isinstance(self.strategy, Choosing) else 1, self.policy.units.device
        noise = torch.cat([self._noise(i, continuations, generators) for i in range(draws)])
        observation = on_device(observations, device)
        seen = repeated(observation, draws)
        prefix = replace(prefix_of(self.policy, seen, [*continuations] * draws), draws=draws)
        return observation, (seen, prefix, noise.to(device))

    def _actions(self, chunk: Tensor, observation: Observed, continuations: Sequence[Continuation]) -> Array:
        """What a chunk is for the robot. Shape (batch, horizon, action)."""
        actions = self.policy.units.to_robot(chunk, observation)
        if self.finishing is not None:
            actions = finished(self.finishing, actions, continuations, self.spec.action_kinds)
        return actions.cpu().numpy()

    def _noise(self, draw: int, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]) -> Tensor:
        """Draw noise for the chunks of one draw; what is carried through an episode is another for each."""
        units, apart = self.policy.units, draw << 32  # episodes are fewer
        asked = [replace(each, episode=each.episode + apart) for each in continuations] if draw else continuations
        return self.noise.draw(units.chunk_shape, units.stride, asked, generators)

    @override
    def reset(self) -> None:
        """Forget nothing: all that is continued comes with the continuation."""

    @override
    def close(self) -> None:
        """Release nothing: nothing is held."""


def finished(
    strategy: Strategy, actions: Tensor, continuations: Sequence[Continuation], kinds: Dimensions = LINEAR
) -> Tensor:
    """Apply a strategy's finishing hook to actions (batch, horizon, action) in robot units."""
    horizon = actions.shape[1]
    reference = torch.as_tensor(_held(continuations, horizon), device=actions.device)
    prefix = _prefix(reference, continuations, horizon, kinds=kinds)
    return strategy.hooks(prefix).finish(actions)


class PolicyAround(ServingPolicy, Remembering):
    """A base for chunk policies around another one; they serve many robots where that one does.

    What derives from it has `next_chunk` and `next_chunks`.

    Args:
        policy: The policy below.
    """

    def __init__(self, policy: ChunkPolicy) -> None:
        self.policy = policy

    @property
    @override
    def spec(self) -> PolicySpec:
        return self.policy.spec

    @property
    @override
    def stateless(self) -> bool:
        return is_stateless(self.policy)

    def chunks_below(
        self, observations: Any, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        """Ask the policy below for the chunks of many robots. Shape (batch, horizon, action).

        Raises:
            SpecError: The policy below serves one robot only.
        """
        if not isinstance(self.policy, BatchChunkPolicy):
            raise SpecError(
                got=f"{type(self.policy).__name__} for {len(continuations)} robots",
                expected="a policy with `next_chunks`",
                change="ask for one chunk at a time with `next_chunk`",
            )
        return self.policy.next_chunks(observations, continuations, generators)

    @override
    def reset(self) -> None:
        self.policy.reset()

    @override
    def close(self) -> None:
        self.policy.close()


class FinishedPolicy(PolicyAround):
    """Any chunk policy, with the finishing hook of a strategy that needs nothing else (see `strategies.blend`)."""

    def __init__(self, policy: ChunkPolicy, strategy: Strategy) -> None:
        super().__init__(policy)
        self.strategy = strategy

    @override
    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        return self._finished(self.policy.next_chunk(observation, _free(continuation))[None], [continuation])[0]

    @override
    def next_chunks(
        self, observations: Observed, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        free = [_free(each) for each in continuations]
        return self._finished(self.chunks_below(observations, free, generators), continuations)

    def _finished(self, actions: Array, continuations: Sequence[Continuation]) -> Array:
        return finished(self.strategy, torch.as_tensor(actions), continuations, self.spec.action_kinds).numpy()


class SharedPolicy(PolicyAround, Predicting, Gathering):
    """A policy for one robot or many, with one generator of noise for all of them; a robot alone is answered as ever.

    Args:
        policy: Makes the chunks; must have no memory.
        seed: Of the noise, as the policy itself was given it.
    """

    def __init__(self, policy: ServingPolicy, seed: int) -> None:
        super().__init__(policy)
        self._generator = torch.Generator().manual_seed(seed)

    @override
    def next_chunk(self, observation: Seen, continuation: Continuation) -> Array:
        return self.chunks([observation], [continuation])[0]

    @override
    def next_chunks(
        self, observations: Seen, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        return self.chunks_below(observations, continuations, generators)

    @override
    def chunks(self, observations: Sequence[Any], continuations: Sequence[Continuation]) -> Array:
        return self.next_chunks(stacked(observations), continuations, [self._generator] * len(continuations))

    @property
    @override
    def surprises(self) -> NDArray[np.float64]:
        return self.policy.surprises if isinstance(self.policy, Predicting) else np.zeros(0)


def _free(continuation: Continuation) -> Continuation:
    """Leave nothing to continue."""
    return replace(continuation, prefix=continuation.prefix[:0], votes=continuation.votes[:0], delay=0)
