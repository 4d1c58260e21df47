"""Configuration of a policy of Segue, as LeRobot's command line and checkpoints know it."""

# pyright: reportMissingImports=false

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig

from segue.errors import SpecError
from segue.integrations.lerobot.learned import check_choices
from segue.integrations.lerobot.pictures import Camera, cameras_of


@PreTrainedConfig.register_subclass("segue")
@dataclass
class SegueConfig(PreTrainedConfig):
    """A flow policy that continues its chunks, on the state and on pictures.

    Attributes:
        horizon: H, actions per chunk.
        n_action_steps: Actions executed from a chunk where LeRobot runs it synchronously.
        network: Name of the network, see `segue list`.
        network_settings: Its settings, where they differ from the defaults.
        predicts: ``action`` or ``velocity``.
        denoising_steps: N, solver steps per inference.
        picture_size: Pixels of the longer side of what it sees of a picture; smaller ones stay as they are.
        encoder: Name of the encoder of pictures: ``resnet``, ``pretrained``.
        encoder_settings: Its settings, where they differ from the defaults; of a pretrained one, all about it once the
            policy is made.
        crop: Share of height and width of pictures that is looked at, cut out anywhere in training.
        objective: ``legato``, ``training-time-rtc``, ``literal-legato`` or ``plain``.
        plain_updates: Updates of plain flow matching before the objective: schedules from scratch ruin a small policy.
        method: How chunks are continued, with settings behind colons: ``legato:gain=0.5``, ``rtc``, ``naive``.
        own_elapsed: How old the policy's own chunks are in training [steps]; empty for demonstrated references only.
        own_steps: Solver steps for them.
        observation_noise: Standard deviation of the noise on normalised observations in training.
        ema: Limit of the decay of the weights' moving average, which is what runs.
        autoencoder: Run of `segue train-autoencoder` on the same data: the policy lives in its latent space.
        autoencoder_config: What that autoencoder is; written when the policy is made, its weights are the policy's.
        fps: Control steps per second; written when the policy is made.
        action_feature_names: Of the data set; written when the policy is made.
        optimizer_lr: Peak of the learning rate.
        optimizer_weight_decay: Of AdamW.
        scheduler_warmup_steps: Updates of linear warm-up, before a cosine to zero.
        rtc_config: Set by LeRobot's engine, and not needed: the leftover and the delay say everything.
    """

    horizon: int = 32
    n_action_steps: int = 8
    network: str = "mlp"
    network_settings: dict[str, int] = field(default_factory=dict)
    predicts: str = "action"
    denoising_steps: int = 5

    picture_size: int = 128
    encoder: str = "resnet"
    encoder_settings: dict[str, Any] = field(default_factory=dict)
    crop: float = 0.875

    objective: str = "legato"
    plain_updates: int = 3000
    method: str = "legato"
    own_elapsed: list[int] = field(default_factory=lambda: [16, 12, 8, 4])
    own_steps: int = 3
    observation_noise: float = 0.02
    ema: float = 0.999

    autoencoder: str | None = None
    autoencoder_config: dict[str, Any] | None = None
    fps: float = 30.0
    action_feature_names: list[str] | None = None

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-3
    scheduler_warmup_steps: int = 100

    rtc_config: Any = None

    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "STATE": NormalizationMode.MEAN_STD,
            "ENV": NormalizationMode.MEAN_STD,
            "VISUAL": NormalizationMode.IDENTITY,
            "ACTION": NormalizationMode.MEAN_STD,
        }
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choices(self)
        if not 1 <= self.n_action_steps <= self.horizon:
            raise SpecError(
                got=f"n_action_steps {self.n_action_steps} of a horizon of {self.horizon}",
                expected="at least 1, and not more than the horizon",
                change="execute fewer steps of each chunk, or make chunks longer",
            )
        if self.autoencoder is not None or self.autoencoder_config is not None:
            # The autoencoder knows the robot's units and normalises by itself.
            self.normalization_mapping["ACTION"] = NormalizationMode.IDENTITY

    @property
    def vectors(self) -> list[str]:
        """Keys of the observation's vectors, in the order in which the policy sees them."""
        features = (self.input_features or {}).items()
        return [key for key, each in features if each.type in (FeatureType.STATE, FeatureType.ENV)]

    @property
    def cameras(self) -> dict[str, Camera]:
        """What the policy sees beside the vectors, by LeRobot's keys."""
        return cameras_of({key: each.shape for key, each in self.image_features.items()}, self.picture_size)

    def validate_features(self) -> None:
        """Raise `SpecError` for observations that the policy cannot see, or none."""
        if not self.vectors or self.action_feature is None:
            state = '{"observation.state": {"type": "STATE", "shape": [6]}}'
            raise SpecError(
                got="no vector to observe, or no action",
                expected="an action, and vectors to observe: observation.state, observation.environment_state",
                change=f"name what the policy is to see: --policy.input_features='{state}'",
            )
        _ = self.cameras  # raises for those that it cannot see

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW."""
        return AdamWConfig(lr=self.optimizer_lr, weight_decay=self.optimizer_weight_decay)

    def get_scheduler_preset(self) -> CosineAnnealingWithWarmupSchedulerConfig:
        """Linear warm-up and a cosine to zero."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.scheduler_warmup_steps)

    @property
    def observation_delta_indices(self) -> list[int]:
        """Frames of the policy's own earlier chunks, and the one of now."""
        return [*(-each for each in self.own_elapsed), 0]

    @property
    def action_delta_indices(self) -> list[int]:
        """A chunk."""
        return list(range(self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """Rewards are not needed."""
