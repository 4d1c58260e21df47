r"""Policies of openpi: one in its own process, whose sampler starts from our noise, and what continues finished chunks.

    Observation -- their names --> policy.infer(observation, noise=...) --> {"actions": (rows, action)}
    Continuation -- which steps of which episode --> noise (horizon, width)

openpi has a websocket server of its own, which names no previous chunk and takes no noise. Behind ours
(`segue.links.server.PolicyServer`) clients say which steps a chunk is for, and answer openpi's clients as before.
Nothing of openpi is imported: whatever has its `Policy.infer` will do.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from segue.core.chunk import Array, Continuation
from segue.core.observation import Observation, Observed, check_pictures, state_of
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.policies.noise import Noise


class Infers(Protocol):
    """What is called of openpi's `Policy`."""

    def infer(self, obs: dict[str, Any], *, noise: NDArray[np.float32] | None = None) -> dict[str, Any]:
        """Actions in the robot's units under ``actions``, shape (rows, action).

        Args:
            obs: By the names of the policy's input transforms.
            noise: Shape (horizon, width), what the flow starts from; None for new noise.
        """
        ...


class OpenpiPolicy:
    """A policy of openpi as a chunk policy. It continues nothing by itself; see `FinishedPolicy`, `PredictivePolicy`.

    Args:
        policy: Of openpi.
        spec: What it sees and answers, which openpi's policies do not say; ``horizon`` is its action horizon, or fewer
            of the first actions.
        noise: What chunks start from; None leaves it to openpi.
        shape: Positions and numbers per position of that noise, the ``action_horizon`` and ``action_dim`` of its model,
            padded dimensions included (50 and 32 for pi0).
        state: Their name of the state.
        cameras: Their names of pictures by ours; without them ours are theirs.
        seed: Of the noise.

    Raises:
        SpecError: Noise without a shape, or fewer positions than the horizon.
    """

    stateless = True
    """All that is continued comes with the continuation."""

    def __init__(
        self,
        policy: Infers,
        spec: PolicySpec,
        *,
        noise: Noise | None = None,
        shape: tuple[int, int] | None = None,
        state: str = "observation/state",
        cameras: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        if noise is not None and (shape is None or shape[0] < spec.horizon or shape[1] < len(spec.action_names)):
            raise SpecError(
                got=f"noise of shape {shape} for {spec.horizon} actions of {len(spec.action_names)} dimensions",
                expected="shape=(action_horizon, action_dim) of the model, padded dimensions included",
                change="take both from its configuration: config.model.action_horizon, config.model.action_dim",
            )
        self.policy, self.spec, self.noise, self.shape = policy, spec, noise, shape
        self.state = state
        self.cameras = {name: name for name in spec.cameras} if cameras is None else dict(cameras)
        self._generator = torch.Generator().manual_seed(seed)

    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        """Actions (horizon, action), robot units.

        Raises:
            SpecError: The observation lacks a picture, or the answer has another shape than the specification says.
        """
        check_pictures(observation, self.spec.cameras)
        told = {} if self.noise is None else {"noise": self._noise(self.noise, continuation)}
        actions = np.asarray(self.policy.infer(self._parts(observation), **told)["actions"], np.float32)
        horizon, names = self.spec.horizon, self.spec.action_names
        if actions.ndim != 2 or len(actions) < horizon or actions.shape[1] != len(names):
            raise SpecError(
                got=f"actions of shape {actions.shape} from openpi",
                expected=f"(at least {horizon}, {len(names)}), as its specification says",
                change="give the spec of what its output transforms leave",
            )
        return actions[:horizon]

    def _parts(self, observation: Observed) -> dict[str, Any]:
        """What is seen, by their names."""
        parts: dict[str, Any] = {self.state: np.asarray(state_of(observation), np.float32)}
        if isinstance(observation, Observation):
            parts |= {theirs: observation.pictures[ours] for ours, theirs in self.cameras.items()}
            if observation.prompt:
                parts["prompt"] = observation.prompt
        return parts

    def _noise(self, noise: Noise, continuation: Continuation) -> NDArray[np.float32]:
        """For one chunk, an array of its own. Shape (horizon, width)."""
        assert self.shape is not None, "checked with the noise"
        return noise.draw(self.shape, 1, [continuation], [self._generator])[0].numpy().astype(np.float32)

    def reset(self) -> None:
        """Nothing to forget: all that is continued comes with the continuation."""

    def close(self) -> None:
        """Nothing is held."""
