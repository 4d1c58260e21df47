"""A policy of Segue where LeRobot expects one of its own: everything but names and shapes happens in segue."""

# pyright: reportMissingImports=false

from collections import deque
from dataclasses import asdict
from typing import Any

import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from lerobot_policy_segue.configuration_segue import SegueConfig
from segue.data.lerobot.reader import load
from segue.errors import SpecError
from segue.integrations.lerobot.learned import LearnedChunks, flow_policy
from segue.integrations.lerobot.noise import NoiseShape
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, latent_statistics
from segue.policies.normalizer import Normalizer
from segue.policies.policy import Policy
from segue.training.autoencoder import load_autoencoder


class SeguePolicy(PreTrainedPolicy):
    """A flow policy that continues its chunks.

    Args:
        config: Configuration.
        dataset_meta: Of the data set, where there is one; says the rate, and where the latents' statistics come from.
        **_: What LeRobot passes besides.
    """

    config_class = SegueConfig
    name = "segue"

    def __init__(self, config: SegueConfig, dataset_meta: Any = None, **_: Any) -> None:
        super().__init__(config)
        config.validate_features()
        if dataset_meta is not None:
            config.fps = float(dataset_meta.fps)
        self.config = config
        self.learned = LearnedChunks(config, _policy(config, dataset_meta), config.cameras)
        self.reset()

    def get_optim_params(self) -> list[nn.Parameter]:
        """Weights to be learned."""
        return self.learned.optimised()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch, and which stage it is of: 1 plain, 2 the objective."""
        loss = self.learned.loss(batch, self.config.vectors)
        return loss, {"stage": 1.0 if self.learned.in_plain_stage else 2.0}

    def update(self) -> None:
        """Called by LeRobot after each step of the optimiser."""
        self.learned.update()

    def reset(self) -> None:
        """Forget the chunk that is executed synchronously."""
        self._due: deque[Tensor] = deque()

    def supports_rtc(self) -> bool:
        """The leftover and the delay are understood, by every method."""
        return True

    def init_rtc_processor(self) -> None:
        """Nothing is guided from outside; the time to say so if the policy has not learned to continue yet."""
        self.learned.check_continues()

    @property
    def noise_shape(self) -> NoiseShape:
        """Of the noise that `predict_action_chunk` takes."""
        return self.learned.noise_shape

    @torch.no_grad()
    def predict_action_chunk(
        self,
        batch: dict[str, Tensor],
        inference_delay: int | None = None,
        prev_chunk_left_over: Tensor | None = None,
        noise: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """A chunk that continues what is left of the one before. (batch, horizon, action), normalised.

        Args:
            batch: Observations.
            inference_delay: Steps that will have been executed from the leftover.
            prev_chunk_left_over: Shape (rows, action) or (batch, rows, action), normalised; zeros at the end are
                padding. None for a first chunk.
            noise: What the chunk starts from, in `noise_shape` with a batch axis before; None for the method's.
        """
        return self.learned.chunks(batch, self.config.vectors, prev_chunk_left_over, inference_delay or 0, noise)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The action of this step, of a chunk that was made while the robot stood still. (batch, action)."""
        if not self._due:
            chunk = self.predict_action_chunk(batch)
            self._due.extend(chunk[:, : self.config.n_action_steps].unbind(1))
        return self._due.popleft()


def _policy(config: SegueConfig, dataset_meta: Any) -> Policy:
    """With fresh weights; in latent space where there is an autoencoder."""
    features = config.input_features or {}
    observed = [f"{key}.{i}" for key in config.vectors for i in range(features[key].shape[0])]
    action = config.action_feature.shape[0]
    names = config.action_feature_names or [f"action.{i}" for i in range(action)]
    if config.autoencoder_config is not None:
        made = {**config.autoencoder_config, "action_names": tuple(config.autoencoder_config["action_names"])}
        codec = ChunkAutoencoder(AutoencoderConfig(**made), Normalizer.identity(action))
        return flow_policy(config, observed, names, codec, cameras=config.cameras)
    if config.autoencoder is None:
        return flow_policy(config, observed, names, cameras=config.cameras)
    if dataset_meta is None:
        raise SpecError(
            got="a new latent policy without a data set",
            expected="the data set that it is trained on, for the statistics of its latents",
            change="make it with lerobot-train, or load a checkpoint with --policy.path",
        )
    codec = load_autoencoder(config.autoencoder)[0]
    config.autoencoder_config = asdict(codec.config)
    statistics = latent_statistics(codec, load(dataset_meta.root), config.horizon)
    return flow_policy(config, observed, names, codec, statistics, config.cameras)
