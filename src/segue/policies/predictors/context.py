r"""A predictor of what a policy makes of an observation, for policies that see pictures.

    observed      o_k -- units.encode, once --> c_k                 state, and features of the pictures
    predicted     c_k -> c'_{k+1} -> ... -> c'_{k+d}                each step by the same residual network
    handed on     Encoded(c'_{k+d}, the state in it)                which the policy takes for an observation

What the pictures will show is not drawn: a policy looks at its context alone, and that is what is predicted. The
encoder is the policy's own, and frozen: a predictor belongs to one policy.

A context is numbers that change from step to step, as a state is; the network that predicts them is that of
`segue.policies.predictors.state`, with the dimensions of the context for those of the observation.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Self, override

from segue.core.chunk import Array
from segue.core.observation import Encoded, state_of
from segue.errors import SpecError
from segue.policies.observation import on_device
from segue.policies.policy import Policy, PredictableUnits
from segue.policies.predictors.predictor import Predictor
from segue.policies.predictors.state import StatePredictor


def context_names(observation_names: tuple[str, ...], size: int) -> tuple[str, ...]:
    """Names of the numbers of a context: those of the state that it holds, then features counted from 0."""
    return (*observation_names, *(f"feature {i}" for i in range(size - len(observation_names))))


def predictable(policy: Policy) -> PredictableUnits:
    """Units of a policy whose context can be predicted.

    Raises:
        SpecError: The policy's context is something else than numbers with the state among them.
    """
    if isinstance(policy.units, PredictableUnits):
        return policy.units
    raise SpecError(
        got=f"a policy with {type(policy.units).__name__}, whose context cannot be predicted",
        expected="a policy of Segue's own, whose context holds the state and the features of the pictures",
        change="predict the state alone: `train_predictor`, or predictor=commanded",
    )


class ContextPredictor(Predictor):
    """Encodes an observation once, and rolls its context forward.

    It is not `Measured`: a robot remembers the state of its last request and no picture, so
    that there is no context to compare with.

    Args:
        network: Of one step, its observations being contexts.
        units: Of the policy that the predictor belongs to.
    """

    def __init__(self, network: StatePredictor, units: PredictableUnits) -> None:
        self.network, self.units = network, units

    def to(self, device: torch.device) -> Self:
        """Move the network; the units are the policy's, and stay where it is."""
        self.network.to(device)
        return self

    @override
    @torch.no_grad()
    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Encoded[Array]:
        """Predict contexts after so many actions, arrays; where ``steps`` is 0, what encoding gives, to the bit.

        Raises:
            SpecError: The observation does not fit the policy, or the actions are others than the network has learned
                from.
        """
        device = self.units.device
        observation = on_device(observed, device)
        context = self.units.encode(observation)
        self.network.check(context, actions)
        count = torch.as_tensor(steps, device=device)
        predicted = self.network(context, torch.as_tensor(actions, device=device), count)
        predicted = self.units.context_kinds.near(predicted, torch.zeros_like(predicted))
        # The way back from normalised units rounds: a state that is seen is not to be
        state = torch.where((count > 0)[:, None], self.units.state(predicted), state_of(observation))
        return Encoded(predicted.cpu().numpy(), state.cpu().numpy())
