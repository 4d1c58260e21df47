"""The upper seam: what a runtime asks of any policy, and a strategy bound to a policy as one filling of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segue.core.chunk import Array, ChunkPolicy, Continuation, hold_last, is_stateless
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.policies.noise import FreshNoise, Noise
from segue.policies.observation import Seen, of_one, on_device
from segue.policies.policy import KindedUnits, Observed, Policy
from segue.strategies.hooks import Prefix, Strategy


@runtime_checkable
class BatchChunkPolicy(Protocol):
    """A chunk policy that serves many robots in one call."""

    def next_chunks(
        self,
        observations: Any,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Array:
        """Actions (batch, horizon, action) for `Observed` of a batch; robot i draws from its own generator."""
        ...


class ServingPolicy(ChunkPolicy, BatchChunkPolicy, Protocol):
    """A chunk policy for one robot or many, such as `ContinuingPolicy`."""


def _votes(continuation: Continuation, horizon: int) -> NDArray[np.int64]:
    """Votes at all positions of the new chunk, 0 beyond the prefix. Shape (horizon,)."""
    votes = np.zeros(horizon, np.int64)
    votes[: len(continuation.votes)] = continuation.votes[:horizon]
    return votes


def prefix_of(policy: Policy, observation: Observed, continuations: Sequence[Continuation]) -> Prefix:
    """Continuations in policy units, anchored to the observation of now, batch axis first.

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
    reference = torch.as_tensor(
        np.stack([hold_last(c.prefix, horizon) for c in continuations]),
        dtype=torch.float32,
        device=policy.units.device,
    )
    votes = np.stack([_votes(c, horizon) for c in continuations])

    def integers(values: list[int]) -> Tensor:
        return torch.tensor(values, device=policy.units.device)

    return Prefix(
        reference=policy.units.to_policy(reference, observation),
        known=integers([min(c.known, horizon) for c in continuations]),
        delay=integers([c.delay for c in continuations]),
        votes=torch.as_tensor(votes, device=policy.units.device),
        stride=policy.units.stride,
        dt=policy.spec.dt,
        kinds=policy.units.kinds if isinstance(policy.units, KindedUnits) else LINEAR,
    )


class ContinuingPolicy:
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
    """All that is continued comes with the continuation."""

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
        self.spec = policy.spec
        self.denoising_steps = policy.denoising_steps if denoising_steps is None else denoising_steps
        self._generator = torch.Generator().manual_seed(seed)

    def next_chunk(self, observation: Seen, continuation: Continuation) -> Array:
        """Actions (horizon, action) in robot units for a state (observation,), or an `Observation` with pictures."""
        return self.next_chunks(of_one(observation), [continuation], [self._generator])[0]

    def next_chunks(
        self,
        observations: Seen,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Array:
        """Actions (batch, horizon, action) in robot units.

        Raises:
            SpecError: Observations or prefixes do not fit the policy.
        """
        units = self.policy.units
        noise = self.noise.draw(units.chunk_shape, units.stride, continuations, generators)
        # Guidance may differentiate through the network, which tensors of inference mode do not allow.
        with torch.inference_mode(False), torch.no_grad():
            observation = on_device(observations, units.device)
            prefix = prefix_of(self.policy, observation, continuations)
            chunk = self.policy.continue_chunk(
                self.strategy, observation, prefix, noise.to(units.device), self.denoising_steps
            )
            actions = units.to_robot(chunk, observation)
            if self.finishing is not None:
                actions = finished(self.finishing, actions, continuations, self.spec.action_kinds)
            return actions.cpu().numpy()

    def reset(self) -> None:
        """Nothing to forget: all that is continued comes with the continuation."""

    def close(self) -> None:
        """Nothing is held."""


def finished(
    strategy: Strategy, actions: Tensor, continuations: Sequence[Continuation], kinds: Dimensions = LINEAR
) -> Tensor:
    """Actions (batch, horizon, action) in robot units after the strategy's finishing hook."""
    horizon, device = actions.shape[1], actions.device
    prefix = Prefix(
        reference=torch.as_tensor(np.stack([hold_last(c.prefix, horizon) for c in continuations]), device=device),
        known=torch.tensor([min(c.known, horizon) for c in continuations], device=device),
        delay=torch.tensor([c.delay for c in continuations], device=device),
        votes=torch.as_tensor(np.stack([_votes(c, horizon) for c in continuations]), device=device),
        kinds=kinds,
    )
    return strategy.hooks(prefix).finish(actions)


class FinishedPolicy:
    """Any chunk policy, with the finishing hook of a strategy that needs nothing else (see `strategies.blend`).

    It serves many robots where the policy below does.
    """

    def __init__(self, policy: ChunkPolicy, strategy: Strategy) -> None:
        self.policy, self.strategy = policy, strategy

    @property
    def spec(self) -> PolicySpec:
        """That of the policy below."""
        return self.policy.spec

    @property
    def stateless(self) -> bool:
        """As the policy below."""
        return is_stateless(self.policy)

    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        """The policy's chunk, finished. Shape (horizon, action)."""
        return self._finished(self.policy.next_chunk(observation, _free(continuation))[None], [continuation])[0]

    def next_chunks(
        self,
        observations: Observed,
        continuations: Sequence[Continuation],
        generators: Sequence[torch.Generator],
    ) -> Array:
        """The policy's chunks, finished. Shape (batch, horizon, action).

        Raises:
            SpecError: The policy below serves one robot only.
        """
        if not isinstance(self.policy, BatchChunkPolicy):
            raise SpecError(
                got=f"{type(self.policy).__name__} for {len(continuations)} robots",
                expected="a policy with `next_chunks`",
                change="ask for one chunk at a time with `next_chunk`",
            )
        free = [_free(each) for each in continuations]
        return self._finished(self.policy.next_chunks(observations, free, generators), continuations)

    def _finished(self, actions: Array, continuations: Sequence[Continuation]) -> Array:
        return finished(self.strategy, torch.as_tensor(actions), continuations, self.spec.action_kinds).numpy()

    def reset(self) -> None:
        """Reset the policy below."""
        self.policy.reset()

    def close(self) -> None:
        """Close the policy below."""
        self.policy.close()


def _free(continuation: Continuation) -> Continuation:
    """The same, with nothing to continue."""
    return replace(continuation, prefix=continuation.prefix[:0], votes=continuation.votes[:0], delay=0)
