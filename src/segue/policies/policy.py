"""The seam between a trained network and everything that trains, runs or measures it: one base class for every family.

    observation -- units.encode --> context -------------+
    actions -- units.to_policy --> chunk, policy units --+-- loss              in training
    prefix  -- units.to_policy --> chunk, policy units --+-- continue_chunk --> units.to_robot --> actions

A chunk in policy units has ``positions`` positions of ``stride`` control steps each: one in action space, f in the
latent space of an autoencoder.
"""

import hashlib
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.policies.encoders.pretrained import Pretrained
from segue.strategies.flow import unguided
from segue.strategies.hooks import Hooks, Prefix, Strategy, Unfolded, all_finished, as_drawn
from segue.strategies.objective import TrainingPair

Observed: TypeAlias = Any
"""An observation, robot units, batch axis first: a tensor (batch, observation), or with pictures an `Observation`
of tensors (`segue.core.observation`). Each policy says in its own types which of the two."""
Context: TypeAlias = Any
"""An observation as `Units.encode` gives it to the network: a tensor, or a cache of keys and values."""


class Units(ABC):
    """Translates between a robot and a policy: observations in, actions both ways.

    Observations are tensors of shape (batch, observation), or an `Observation` of tensors (`segue.core.observation`);
    actions are anchored to its state.

    Attributes:
        chunk_shape: Positions and numbers per position of a chunk in policy units.
        stride: Control steps per position.
    """

    chunk_shape: tuple[int, int]
    stride: int

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def kinds(self) -> Dimensions:
        """Kinds of the dimensions of a position, in policy units; linear unless the units say otherwise."""
        return LINEAR

    @abstractmethod
    def encode(self, observation: Observed) -> Context:
        """Encode what is observed to the context of an inference, made once and used at every step.

        Raises:
            SpecError: The observation does not fit the policy.
        """

    def augmented(self, observation: Observed, generator: torch.Generator) -> Observed:
        """Draw what is trained on in place of an observation, such as pictures that are cut out anywhere."""
        return observation

    @property
    def frozen(self) -> Pretrained | None:
        """Encoder that always says the same of a picture, so that it may be asked once; None where there is none."""
        return None

    @abstractmethod
    def to_policy(self, actions: Tensor, observation: Observed) -> Tensor:
        """Robot units (batch, horizon, action) to policy units (batch, positions, dimension)."""

    @abstractmethod
    def to_robot(self, chunk: Tensor, observation: Observed) -> Tensor:
        """Policy units (batch, positions, dimension) to robot units (batch, horizon, action)."""


class PredictableUnits(Units):
    """Units whose context can be predicted: numbers that hold the state, and `Encoded` in place of an observation."""

    @abstractmethod
    def state(self, context: Tensor) -> Tensor:
        """Take the state out of a context, robot units. (batch, context) -> (batch, observation)."""

    @property
    @abstractmethod
    def context_kinds(self) -> Dimensions:
        """Kinds of the numbers of a context, in its units; an angle is kept near zero, the mean."""


class Policy(nn.Module, ABC):
    """A chunk of actions for an observation, learned.

    Attributes:
        spec: Observations that it sees and actions that it answers, as the robot has them.
        denoising_steps: N, calls of the network per inference, unless told otherwise.
        units: Translate between it and the robot.
    """

    spec: PolicySpec
    denoising_steps: int
    units: Units

    @abstractmethod
    def loss(self, pair: TrainingPair, context: Context) -> Tensor:
        """Mean over samples of the mean error over the positions that count. Scalar."""

    @abstractmethod
    def continue_chunk(
        self, strategy: Strategy, observation: Observed, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        """Make one chunk per observation, policy units.

        Args:
            strategy: How the previous chunk is continued; families without a velocity field apply its finishing hook.
            observation: Robot units, batch axis first.
            prefix: The previous chunk, policy units.
            noise: Standard normal, shape (batch, positions, dimension); a family without noise ignores it.
            steps: N, calls of the network; a family that answers in one call ignores it.

        Returns:
            Shape (batch, positions, dimension).

        Raises:
            SpecError: The strategy steers a velocity field that the family does not have, or the family cannot take so
                many steps.
        """

    def unfold(self, strategy: Strategy, observation: Observed, prefix: Prefix, noise: Tensor, steps: int) -> Unfolded:
        """Do what `continue_chunk` does, and yield the chunks before, whenever more leading positions are finished."""
        yield 1.0, *all_finished(self.continue_chunk(strategy, observation, prefix, noise, steps))


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all that a checkpoint of it holds: names, types, shapes and bytes of weights and statistics."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


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
    if hooks.guide is not unguided or hooks.start is not as_drawn or bool(hooks.weights.any()):
        raise SpecError(
            got=f"a strategy that steers the velocity field, on a {family} policy",
            expected="a flow policy, the only family that has a velocity field",
            change="take a strategy that works on finished chunks (naive, ensembling, blend, cross-fade), "
            "or train with --family flow",
        )
