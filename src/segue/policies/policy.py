"""The seam between a trained network and everything that trains, runs or measures it: one protocol for every family.

    observation -- units.encode --> context -------------+
    actions -- units.to_policy --> chunk, policy units --+-- loss              in training
    prefix  -- units.to_policy --> chunk, policy units --+-- continue_chunk --> units.to_robot --> actions

A chunk in policy units has ``positions`` positions of ``stride`` control steps each: one in action space, f in the
latent space of an autoencoder.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn
from typing_extensions import Self

from segue.core.dimensions import Dimensions
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.strategies.flow import unguided
from segue.strategies.hooks import Hooks, Prefix, Strategy
from segue.strategies.objective import TrainingPair

Observed: TypeAlias = Any
"""What a policy sees, robot units, batch axis first: a tensor (batch, observation), or with pictures an `Observation`
of tensors (`segue.core.observation`). Each policy says in its own types which of the two."""
Context: TypeAlias = Any
"""What `Policy.encode` makes of it for the network: a tensor, or a cache of keys and values."""


class Module(Protocol):
    """The part of `torch.nn.Module` that the loop and the checkpoints use; a protocol cannot inherit from it."""

    def to(self, device: torch.device) -> Self:
        """Move the weights."""
        ...

    def train(self, mode: bool = True) -> Self:
        """Go into training."""
        ...

    def eval(self) -> Self:
        """Go out of training."""
        ...

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the weights are to be learned."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Weights."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Weights by name."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All that a checkpoint holds."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> object:
        """Take what a checkpoint holds."""
        ...


class Units(Protocol):
    """What stands between the robot and a policy: observations in, actions both ways.

    Observations are tensors of shape (batch, observation), or an `Observation` of tensors (`segue.core.observation`);
    actions are anchored to its state.
    """

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Positions and numbers per position of a chunk in policy units."""
        ...

    @property
    def stride(self) -> int:
        """Control steps per position."""
        ...

    def encode(self, observation: Observed) -> Context:
        """Context of an inference, made once and used at every step."""
        ...

    def to_policy(self, actions: Tensor, observation: Observed) -> Tensor:
        """Robot units (batch, horizon, action) to policy units (batch, positions, dimension)."""
        ...

    def to_robot(self, chunk: Tensor, observation: Observed) -> Tensor:
        """Policy units (batch, positions, dimension) to robot units (batch, horizon, action)."""
        ...


@runtime_checkable
class SeeingUnits(Units, Protocol):
    """Units of a policy that learns to look at pictures."""

    def augmented(self, observation: Observed, generator: torch.Generator) -> Observed:
        """What is trained on in place of an observation, such as pictures that are cut out anywhere."""
        ...


@runtime_checkable
class KindedUnits(Units, Protocol):
    """Units that say what a dimension of a chunk is; without, all of them are linear."""

    @property
    def kinds(self) -> Dimensions:
        """In policy units, one per dimension of a position."""
        ...


@runtime_checkable
class PredictableUnits(Units, Protocol):
    """Units whose context can be predicted: numbers that hold the state, and `Encoded` in place of an observation."""

    def state(self, context: Tensor) -> Tensor:
        """The state that is part of a context, robot units. (batch, context) -> (batch, observation)."""
        ...

    @property
    def context_kinds(self) -> Dimensions:
        """What each number of a context is, in its units; an angle is kept near zero, the mean."""
        ...


class Policy(Module, Protocol):
    """A chunk of actions for an observation, learned; always a `torch.nn.Module`."""

    @property
    def spec(self) -> PolicySpec:
        """What it sees and answers, as the robot has it."""
        ...

    @property
    def denoising_steps(self) -> int:
        """N, calls of the network per inference, unless told otherwise."""
        ...

    @property
    def units(self) -> Units:
        """What stands between it and the robot."""
        ...

    def loss(self, pair: TrainingPair, context: Context) -> Tensor:
        """Mean over samples of the mean error over the positions that count. Scalar."""
        ...

    def continue_chunk(
        self, strategy: Strategy, observation: Observed, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        """One chunk per observation, policy units.

        Args:
            strategy: How the previous chunk is continued.
            observation: Robot units, batch axis first.
            prefix: The previous chunk, policy units.
            noise: Standard normal, shape (batch, positions, dimension); a family without noise ignores it.
            steps: N, calls of the network; a family that answers in one call ignores it.

        Returns:
            Shape (batch, positions, dimension).
        """
        ...


def mean_error(error: Tensor, mask: Tensor) -> Tensor:
    """Mean over samples of the mean over dimensions and positions that count. Scalar.

    Args:
        error: Shape (batch, positions, dimension).
        mask: Shape (batch, positions), boolean; a sample without any position adds zero.
    """
    error = error.mean(2)
    mask = mask.to(error.dtype)
    return ((error * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def refuse_guidance(hooks: Hooks, family: str) -> None:
    """Raise `SpecError` for a strategy that steers a velocity field, which only flow policies have."""
    if hooks.guide is not unguided or bool(hooks.weights.any()):
        raise SpecError(
            got=f"a strategy that steers the velocity field, on a {family} policy",
            expected="a flow policy, the only family that has a velocity field",
            change="take a strategy that works on finished chunks (naive, ensembling, blend, cross-fade), "
            "or train with --family flow",
        )
