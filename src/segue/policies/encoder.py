"""Encoders of state observations: a normalised observation to the context of the network."""

from torch import Tensor, nn

from segue.errors import SpecError


def _check(observation: Tensor, size: int) -> None:
    if observation.ndim != 2 or observation.shape[1] != size:
        raise SpecError(
            got=f"observation of shape {tuple(observation.shape)}",
            expected=f"(batch, {size})",
            change="give the encoder the observation that it was built for, with a batch axis",
        )


class StateEncoder(nn.Module):
    """The normalised observation is the context: all that the networks here need for a state vector.

    Attributes:
        context: Numbers in the context.
    """

    def __init__(self, observation: int) -> None:
        super().__init__()
        self.context = observation

    def forward(self, observation: Tensor) -> Tensor:
        """Context. Shape (batch, observation) to (batch, context).

        Raises:
            SpecError: The observation has another size.
        """
        _check(observation, self.context)
        return observation


class LearnedStateEncoder(nn.Module):
    """Linear, SiLU, Linear: computed once per chunk, where the network runs once per denoising step.

    Attributes:
        observation: Numbers in an observation.
        context: Numbers in the context.
    """

    def __init__(self, observation: int, context: int, width: int = 256) -> None:
        super().__init__()
        self.observation, self.context = observation, context
        self.layers = nn.Sequential(nn.Linear(observation, width), nn.SiLU(), nn.Linear(width, context))

    def forward(self, observation: Tensor) -> Tensor:
        """Context. Shape (batch, observation) to (batch, context).

        Raises:
            SpecError: The observation has another size.
        """
        _check(observation, self.observation)
        return self.layers(observation)
