"""What is learned under LeRobot's training loop: one of our policies, its averaged weights, and how far it is.

    update   0 ........ plain_updates ........ steps
             plain flow matching | the objective

LeRobot normalises at its own door, so that the policy inside takes numbers as they come: what it calls robot units are
LeRobot's normalised ones. A latent policy is the exception: its autoencoder knows the robot's units, and LeRobot hands
over actions as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from typing_extensions import Self

from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.integrations.lerobot.batches import NO_CAMERAS, demonstrated_in, seen_in, with_own
from segue.integrations.lerobot.leftover import continued
from segue.integrations.lerobot.noise import GivenNoise, NoiseShape
from segue.integrations.lerobot.pictures import Camera
from segue.methods.methods import LATENT, Method, method, objective
from segue.policies.autoencoder.autoencoder import Codec
from segue.policies.config import Vision
from segue.policies.encoders import settled
from segue.policies.families import family_of
from segue.policies.flow import FlowPolicy, FlowPolicyConfig
from segue.policies.latent import LatentPolicy, latent_names
from segue.policies.normalizer import Normalizer
from segue.policies.policy import Policy
from segue.policies.processor import NormalizedUnits
from segue.strategies.naive import FlowMatching
from segue.training.fit import average_into, averaged
from segue.training.loop import policy_loss
from segue.training.resume import learned


class Choices(Protocol):
    """What a configuration of LeRobot says about one of our policies.

    Attributes:
        horizon: H, actions per chunk.
        fps: Control steps per second.
        network: Name of the network.
        network_settings: Its settings, where they differ from the defaults.
        predicts: ``action`` or ``velocity``.
        denoising_steps: N, solver steps per inference.
        encoder: Name of the encoder of pictures, where there are some.
        encoder_settings: Its settings; of a pretrained one they say all about it, once the policy is made.
        crop: Share of pictures that is looked at.
        objective: What the policy is trained with after the plain updates.
        plain_updates: Updates of plain flow matching before.
        method: How chunks are continued, with settings behind colons: ``legato:gain=0.5``.
        own_elapsed: Steps that the policy's own chunks are old in training.
        own_steps: Solver steps for them.
        observation_noise: Standard deviation of the noise on normalised observations in training.
        ema: Limit of the decay of the weights' moving average.
        autoencoder: Run of the autoencoder that the policy lives in the latent space of; None for action space.
        autoencoder_config: What that autoencoder is, once it is the policy's.
    """

    horizon: int
    fps: float
    network: str
    network_settings: dict[str, int]
    predicts: str
    denoising_steps: int
    encoder: str
    encoder_settings: dict[str, Any]
    crop: float
    objective: str
    plain_updates: int
    method: str
    own_elapsed: list[int]
    own_steps: int
    observation_noise: float
    ema: float
    autoencoder: str | None
    autoencoder_config: dict[str, Any] | None


def check_choices(choices: Choices) -> None:
    """Raise `SpecError` or `UnknownNameError` for an objective or method that does not exist or does not fit."""
    aim = objective(choices.objective)
    family = family_of(aim)
    if aim.max_offset or aim.adapter_rank:
        raise SpecError(
            got=f"objective {choices.objective!r}, which needs other batches, or adapters, than are made here",
            expected="an objective on LeRobot's batches: plain, legato, training-time-rtc or literal-legato",
            change="name one of these, or train with `segue train`",
        )
    if family != "flow":
        raise SpecError(
            got=f"objective {choices.objective!r}, which trains {family} policies",
            expected="an objective of flow policies: plain, legato, training-time-rtc or literal-legato",
            change="name one of these, or train with `segue train --family " + family + "`",
        )
    found = method(choices.method)
    if found.correction != "none":
        raise SpecError(
            got=f"method {choices.method!r}, which corrects each action when it is due",
            expected="a method without a correction: LeRobot executes the actions as they are",
            change="leave the correction out (correction=none)",
        )
    if found.refinement is not None and choices.autoencoder is None and choices.autoencoder_config is None:
        raise SpecError(
            got=f"method {choices.method!r} for a policy without an autoencoder",
            expected="the autoencoder that it refines with",
            change="train one with `segue train-autoencoder`, and add --policy.autoencoder=RUN",
        )
    if found.settings["noise"] == "carried" or found.predictor != "none":
        raise SpecError(
            got=f"method {choices.method!r}, which has to know the step that a chunk is for",
            expected="a method without noise=carried and without a predictor: LeRobot does not tell a policy the step",
            change="leave them to the engine: --inference.type=segue --inference.noise=carried "
            "--inference.predictor=commanded",
        )
    needed = found.policy.removeprefix(LATENT)
    if needed not in ("plain", choices.objective):
        raise SpecError(
            got=f"method {choices.method!r} with objective {choices.objective!r}",
            expected=f"a policy that is trained with {needed!r}",
            change=f"set objective to {needed!r}, or the method to one that continues any policy, such as rtc",
        )


def flow_policy(
    choices: Choices,
    observation_names: Sequence[str],
    action_names: Sequence[str],
    autoencoder: Codec | None = None,
    latents: Normalizer | None = None,
    cameras: Mapping[str, Camera] = NO_CAMERAS,
) -> Policy:
    """The policy with fresh weights, from torch's global generator.

    Args:
        choices: Configuration.
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        autoencoder: The policy lives in its latent space; None for action space.
        latents: Statistics of the latents; None where they are still to be loaded.
        cameras: What it is shown beside the vectors.

    Raises:
        SpecError: Sizes or settings do not fit together.
        CheckpointError: A pretrained encoder that cannot be read.
    """
    names, horizon = tuple(action_names), choices.horizon
    if autoencoder is not None:
        _check_autoencoder(autoencoder, len(names), horizon)
        names, horizon = latent_names(autoencoder.latent), horizon // autoencoder.stride
    pretrained = bool(cameras) and choices.encoder == "pretrained" and "config" not in choices.encoder_settings
    if pretrained:
        choices.encoder_settings = settled(choices.encoder, choices.encoder_settings)
    shown = {camera.name: camera.shown for camera in cameras.values()}
    config = FlowPolicyConfig(
        PolicySpec(horizon, 1 / choices.fps, tuple(observation_names), names, shown),
        relative_to=(None,) * len(names),
        network=choices.network,
        network_settings=dict(choices.network_settings),
        predicts=choices.predicts,
        denoising_steps=choices.denoising_steps,
        vision=Vision(choices.encoder, choices.encoder_settings, choices.crop) if shown else None,
    )
    units = NormalizedUnits.blank(config)
    if pretrained and units.sight is not None:
        units.sight.encoder.start()
    if latents is not None:
        units.action = latents
    policy = FlowPolicy(config, units)
    return policy if autoencoder is None else LatentPolicy(policy, autoencoder)


def _check_autoencoder(autoencoder: Codec, action: int, horizon: int) -> None:
    found = len(autoencoder.config.action_names)
    if found != action or horizon % autoencoder.stride:
        raise SpecError(
            got=f"an autoencoder of {found} action dimensions and {autoencoder.stride} steps per position",
            expected=f"{action} action dimensions, and a stride that divides the horizon {horizon}",
            change="train it with `segue train-autoencoder` on this data set, and choose the horizon to fit",
        )


class LearnedChunks(nn.Module):
    """A policy in training, and the average of its weights, which is what runs.

    Args:
        choices: Configuration.
        policy: Fresh or blank.
        cameras: What it is shown beside the vectors.
    """

    updates: Tensor

    def __init__(self, choices: Choices, policy: Policy, cameras: Mapping[str, Camera] = NO_CAMERAS) -> None:
        super().__init__()
        check_choices(choices)
        self.choices, self.policy, self.cameras = choices, policy, cameras
        self.average = averaged(policy)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Self:
        """Put the policy into training or out of it; the average stays out of it."""
        super().train(mode)
        self.average.eval()
        return self

    @property
    def in_plain_stage(self) -> bool:
        """Whether the next update is one of plain flow matching."""
        return int(self.updates) < self.choices.plain_updates

    @property
    def method(self) -> Method:
        """How chunks are continued."""
        return method(self.choices.method)

    def check_continues(self) -> None:
        """Raise `SpecError` where the method needs what the policy has not learned yet."""
        done, plain = int(self.updates), self.choices.plain_updates
        if done <= plain and self.method.policy.removeprefix(LATENT) != "plain":
            raise SpecError(
                got=f"method {self.choices.method!r} on a policy of {done} updates, all of them plain",
                expected=f"a policy that is trained with {self.choices.objective!r} beyond its {plain} plain updates",
                change="train for more steps or with fewer --policy.plain_updates, or run it with --policy.method=rtc",
            )

    def optimised(self) -> list[nn.Parameter]:
        """Weights to be learned; an autoencoder's are not."""
        return list(learned(self.policy).values())

    def loss(self, batch: Mapping[str, Tensor], keys: Sequence[str]) -> Tensor:
        """Mean error of a batch of LeRobot, under the objective of the stage. Scalar.

        Args:
            batch: Normalised, see `segue.integrations.lerobot.batches`.
            keys: Of the observation's vectors.
        """
        choices, generator = self.choices, torch.default_generator
        aim = FlowMatching() if self.in_plain_stage else objective(choices.objective)
        seen = seen_in(batch, keys, self.cameras)
        demonstrated = demonstrated_in(batch, self.policy, seen)
        if aim.own_chunks and choices.own_elapsed:
            demonstrated = with_own(demonstrated, self.average, seen, choices.own_elapsed, choices.own_steps, generator)
        pair = aim.pair(demonstrated, generator)
        return policy_loss(self.policy, pair, seen.now, choices.observation_noise, generator)

    def update(self) -> None:
        """Count an optimiser step, and average the weights."""
        average_into(self.average, self.policy, self.choices.ema, int(self.updates))
        self.updates += 1

    @property
    def noise_shape(self) -> NoiseShape:
        """Of the noise that `chunks` takes."""
        units = self.average.units
        return NoiseShape(*units.chunk_shape, units.stride)

    def chunks(
        self,
        batch: Mapping[str, Tensor],
        keys: Sequence[str],
        leftover: Tensor | None,
        delay: int,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Chunks that continue a leftover, see `segue.integrations.lerobot.leftover`. (batch, horizon, action).

        Noise of shape (batch, positions, dimension) takes the place of the method's.
        """
        if leftover is not None:
            self.check_continues()
        observation = seen_in(batch, keys, self.cameras).now
        chosen = self.method if noise is None else replace(self.method, noise=GivenNoise(noise))
        bound = chosen.bound(self.average)
        return continued(bound, observation, leftover, delay, [torch.default_generator] * len(observation))
