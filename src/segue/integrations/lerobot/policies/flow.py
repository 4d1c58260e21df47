"""A flow policy of LeRobot as one of ours: its velocity under our sampler and strategies."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from typing_extensions import override

from segue.core.observation import Cameras
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.integrations.lerobot.policies.conditioning import Conditioning, Untold
from segue.integrations.lerobot.policies.fields import Encoded, Theirs, architecture
from segue.integrations.lerobot.policies.units import STATE, Batch, LeRobotUnits, Postprocess, Preprocess, Shown
from segue.policies.policy import Policy, mean_error
from segue.strategies.flow import integrate
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import TrainingPair


def sizes(theirs: Theirs) -> tuple[int, int]:
    """Numbers of the robot's state and of its actions, as the policy's configuration says.

    Raises:
        SpecError: It says nothing of one of them, or converts between spaces of its own.
    """
    config = theirs.config
    state, action = config.input_features.get(STATE), config.output_features.get("action")
    if state is None or action is None or getattr(config, "adapt_to_pi_aloha", False):
        raise SpecError(
            got=f"a {config.type} policy "
            + ("that converts to ALOHA's old space" if state and action else "without a state or without actions"),
            expected=f"a policy of {STATE!r} and 'action', in the space of its data set",
            change="train it on a data set in that space",
        )
    return state.shape[0], action.shape[0]


def pictures(theirs: Theirs, given: Mapping[str, str] | None) -> tuple[Cameras, dict[str, str]]:
    """Sizes of pictures, and their names, both by ours.

    Args:
        theirs: Policy of LeRobot.
        given: Their names by ours; None takes what follows ``observation.images.`` as ours.

    Raises:
        SpecError: A name that the policy does not have.
    """
    features = {
        name: feature.shape[1:] for name, feature in theirs.config.image_features.items() if "empty_camera" not in name
    }
    named = given or {name.removeprefix("observation.").removeprefix("images."): name for name in features}
    if foreign := sorted(set(named.values()) - features.keys()):
        raise SpecError(
            got=f"cameras {', '.join(foreign)}", expected=", ".join(features) or "no cameras", change="give their names"
        )
    return {ours: features[theirs] for ours, theirs in named.items()}, dict(named)


def names(given: tuple[str, ...] | None, count: int, what: str) -> tuple[str, ...]:
    """Names that were given, or numbered ones.

    Raises:
        SpecError: Not as many as there are dimensions.
    """
    if given is None:
        return tuple(f"{what} {i}" for i in range(count))
    if len(given) != count:
        raise SpecError(f"{len(given)} names of {what}s", f"{count}", "name each in the policy's order")
    return given


class LeRobotFlowPolicy(Policy):
    """SmolVLA, pi0 or pi0.5 of LeRobot as a flow policy of ours.

    Args:
        theirs: Their policy.
        preprocess: Their preprocessor.
        postprocess: Their postprocessor.
        dt: Control period [s].
        conditioning: How the network is told the schedule.
        observation_names: One per number of the state.
        action_names: One per action dimension.
        cameras: Their names of pictures by ours, where ours are not what follows ``observation.images.``.

    Raises:
        UnknownNameError: It is no flow policy that is known here.
        SpecError: It cannot be told the schedule this way, or its units are not affine.
    """

    def __init__(
        self,
        theirs: Theirs,
        preprocess: Preprocess,
        postprocess: Postprocess,
        *,
        dt: float,
        conditioning: Conditioning | None = None,
        observation_names: tuple[str, ...] | None = None,
        action_names: tuple[str, ...] | None = None,
        cameras: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        known, config = architecture(theirs), theirs.config
        state, action = sizes(theirs)
        shown, named = pictures(theirs, cameras)
        self.conditioning = conditioning or Untold()
        self.conditioning.prepare(theirs, action)
        self.theirs = theirs
        horizon: int = config.chunk_size
        self.denoising_steps: int = getattr(config, known.steps)
        self.spec = PolicySpec(
            horizon, dt, names(observation_names, state, "state"), names(action_names, action, "action"), shown
        )
        self.units: LeRobotUnits = LeRobotUnits(  # pyright: ignore[reportIncompatibleVariableOverride]  # set once
            preprocess, postprocess, horizon=horizon, state=state, action=action,
            width=config.max_action_dim, cameras=named,
        )  # fmt: skip
        self._encode: Callable[[Theirs, Batch], Encoded] = known.encode

    def velocity(self, x: Tensor, t: Tensor, w: Tensor, encoded: Encoded) -> Tensor:
        """Estimate of ``E[A - e | x]``. x (batch, horizon, width), t (batch,), w (batch, horizon)."""
        return self.conditioning.velocity(self.theirs, x, t, w, encoded)

    @override
    def loss(self, pair: TrainingPair, context: Batch) -> Tensor:
        """Squared error of the robot's dimensions, mean over samples of the mean over the positions that count."""
        v = self.velocity(pair.x, pair.t, pair.w, self._encode(self.theirs, context))
        error = (v - pair.target)[..., : len(self.spec.action_names)].square()
        return mean_error(error, pair.mask)

    @override
    def continue_chunk(
        self, strategy: Strategy, observation: Shown, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        hooks = strategy.hooks(prefix)
        encoded = self._encode(self.theirs, self.units.encode(observation))

        # Their networks see the time in waves as short as 0.004: it is turned around before it is rounded.
        precise = torch.float32 if noise.device.type == "mps" else torch.float64

        def field(x: Tensor, t: float) -> Tensor:
            return self.velocity(x, x.new_full((len(x),), t, dtype=precise), hooks.told(t), encoded)

        start = hooks.start(field, noise, steps)
        chunk = integrate(field, start, hooks.weights, prefix.reference, steps=steps, guide=hooks.guide)
        return hooks.finish(chunk)
