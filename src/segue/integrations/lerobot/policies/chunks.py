"""ACT and Diffusion Policy of LeRobot as policies of ours: they answer with finished chunks, and those are continued.

ACT              observation -> chunk, in one call
Diffusion Policy last observations -> actions from the first of them on; ours begin at the last
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from segue.core.spec import PolicySpec
from segue.errors import SpecError, UnknownNameError
from segue.integrations.lerobot.policies.fields import Theirs
from segue.integrations.lerobot.policies.flow import names, pictures, sizes
from segue.integrations.lerobot.policies.units import Batch, LeRobotUnits, Postprocess, Preprocess, Shown
from segue.policies.policy import Policy, refuse_guidance
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.objective import TrainingPair


def predict_act(theirs: Theirs, batch: Batch, noise: Tensor) -> Tensor:
    """The whole chunk of ACT, normalised. Shape (batch, horizon, action)."""
    return theirs.predict_action_chunk(batch)


def predict_diffusion(theirs: Theirs, batch: Batch, noise: Tensor) -> Tensor:
    """All actions that Diffusion Policy samples from the present one on, normalised. Shape (batch, horizon, action)."""
    config, batch = theirs.config, dict(batch)
    for name in ("observation.state", "observation.environment_state", *config.image_features):
        if name in batch and batch[name].ndim == (4 if name in config.image_features else 2):
            batch[name] = batch[name][:, None].repeat_interleave(config.n_obs_steps, 1)  # as their queue begins
    if config.image_features:
        batch["observation.images"] = torch.stack([batch[name] for name in config.image_features], -4)
    model = theirs.diffusion
    sampled = model.conditional_sample(
        len(noise), global_cond=model._prepare_global_conditioning(batch), noise=noise.clone()
    )
    return sampled[:, config.n_obs_steps - 1 :]


@dataclass(frozen=True)
class ChunkArchitecture:
    """What is to be known of a policy of LeRobot that answers with chunks.

    Attributes:
        family: Of ours that it belongs to.
        predict: Normalised chunk of a batch and noise.
        rows: Field of its configuration with the positions that it samples.
    """

    family: str
    predict: Callable[[Theirs, Batch, Tensor], Tensor]
    rows: str


CHUNKS = {
    "act": ChunkArchitecture("regression", predict_act, "chunk_size"),
    "diffusion": ChunkArchitecture("diffusion", predict_diffusion, "horizon"),
}
"""By the type that their configuration names."""


class LeRobotChunkPolicy(Policy):
    """ACT or Diffusion Policy of LeRobot as a policy of ours.

    Args as `LeRobotFlowPolicy`. An observation of Diffusion Policy may have a time axis after the batch axis with the
    last observations; without it, the present one stands for all of them, as in the first step of their own loop.

    Raises:
        UnknownNameError: It is a policy that is not known here.
        SpecError: Its units are not affine.
    """

    def __init__(
        self,
        theirs: Theirs,
        preprocess: Preprocess,
        postprocess: Postprocess,
        *,
        dt: float,
        observation_names: tuple[str, ...] | None = None,
        action_names: tuple[str, ...] | None = None,
        cameras: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        config = theirs.config
        name = str(config.type)
        if name not in CHUNKS:
            raise UnknownNameError("chunk policy of LeRobot", name, CHUNKS)
        known = CHUNKS[name]
        state, action = sizes(theirs)
        shown, named = pictures(theirs, cameras)
        rows: int = getattr(config, known.rows)
        horizon = rows - config.n_obs_steps + 1
        self.theirs, self._predict = theirs, known.predict
        self.family = known.family
        self.denoising_steps = getattr(theirs.diffusion, "num_inference_steps", 1) if self.family == "diffusion" else 1
        self.spec = PolicySpec(
            horizon, dt, names(observation_names, state, "state"), names(action_names, action, "action"), shown
        )
        self.units: LeRobotUnits = LeRobotUnits(  # pyright: ignore[reportIncompatibleVariableOverride]  # set once
            preprocess, postprocess, horizon=horizon, state=state, action=action, width=action, cameras=named,
            rows=rows,
        )  # fmt: skip

    @override
    def loss(self, pair: TrainingPair, context: Batch) -> Tensor:
        """Nothing of ours trains these policies.

        Raises:
            SpecError: Always.
        """
        raise SpecError(
            got=f"training a {self.theirs.config.type} policy of LeRobot here",
            expected="a policy that was trained by LeRobot",
            change="train it with lerobot-train",
        )

    @override
    def continue_chunk(
        self, strategy: Strategy, observation: Shown, prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        if steps != self.denoising_steps:
            raise SpecError(
                got=f"{steps} denoising steps for a policy of LeRobot of type {self.theirs.config.type}",
                expected=f"{self.denoising_steps}, its own number",
                change="leave denoising_steps out, or set num_inference_steps in the config.json of a Diffusion Policy",
            )
        hooks = strategy.hooks(prefix)
        refuse_guidance(hooks, self.family)
        return hooks.finish(self._predict(self.theirs, self.units.encode(observation), noise))
