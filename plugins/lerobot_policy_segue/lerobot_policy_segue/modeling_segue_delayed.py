"""Any policy of LeRobot, with chunks that arrive late: latency in `lerobot-eval` as it is."""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from lerobot.policies import get_policy_class
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from torch import Tensor, nn

from lerobot_policy_segue.configuration_segue_delayed import SegueDelayedConfig
from segue.errors import SpecError
from segue.integrations.lerobot.delayed import DelayedExecution
from segue.integrations.lerobot.engine import check_sees_now


class SegueDelayedPolicy(PreTrainedPolicy):
    """A policy inside, executed under a delay.

    Args:
        config: Configuration.
        inside: The policy.

    Raises:
        SpecError: There is no policy, it looks back at more than the observation of now, or its actions are relative.
    """

    config_class = SegueDelayedConfig
    name = "segue_delayed"

    def __init__(self, config: SegueDelayedConfig, inside: PreTrainedPolicy | None = None, **_: Any) -> None:
        super().__init__(config)
        if inside is None:
            raise SpecError(
                got="a policy of type segue_delayed without a policy inside",
                expected="the folder of a trained policy",
                change="add --policy.pretrained_path=outputs/train/.../pretrained_model",
            )
        check_sees_now(inside.name, inside.config.n_obs_steps)
        if getattr(inside.config, "use_relative_actions", False):
            raise SpecError(
                got=f"a {inside.name} policy with use_relative_actions",
                expected="absolute actions: lerobot-eval adds the state of each step to the offsets of an earlier one",
                change="run it on a robot (--inference.type=segue), or train it without (use_relative_actions=false)",
            )
        self.config, self.inside = config, inside
        self._continues = config.continues and inside.supports_rtc()
        if self._continues:
            inside.config.rtc_config = RTCConfig(execution_horizon=2**31 - 1)  # as far as the leftover reaches
            if hasattr(inside, "init_rtc_processor"):
                inside.init_rtc_processor()
        self._execution = DelayedExecution(config.delay, config.execution_horizon)

    @classmethod
    def from_pretrained(
        cls, pretrained_name_or_path: str | Path, *, config: SegueDelayedConfig, **kwargs: Any
    ) -> "SegueDelayedPolicy":
        """The policy in the folder, put inside."""
        found = PreTrainedConfig.from_pretrained(pretrained_name_or_path)
        found.device = config.device
        inside = get_policy_class(found.type).from_pretrained(pretrained_name_or_path, config=found, **kwargs)
        return cls(config, inside).to(config.device).eval()

    def get_optim_params(self) -> list[nn.Parameter]:
        """Nothing is trained here."""
        return []

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict | None]:
        """Loss of the policy inside."""
        return self.inside.forward(batch)

    def reset(self) -> None:
        """Start a new episode."""
        self.inside.reset()
        self._execution.reset()

    def predict_action_chunk(self, batch: dict[str, Tensor], **kwargs: Any) -> Tensor:
        """A chunk of the policy inside."""
        return self.inside.predict_action_chunk(batch, **kwargs)

    def select_action(self, batch: dict[str, Tensor], **_: Any) -> Tensor:
        """The actions of this step, of chunks that were asked for d steps before they were used. (batch, action)."""
        # LeRobot's guidance cannot work on tensors of inference mode.
        with torch.inference_mode(False), torch.no_grad():
            seen = {key: each.clone() if isinstance(each, Tensor) else each for key, each in batch.items()}

            def predict(leftover: Tensor | None, delay: int) -> Tensor:
                if not self._continues:
                    return self.inside.predict_action_chunk(seen)
                return self.inside.predict_action_chunk(seen, inference_delay=delay, prev_chunk_left_over=leftover)

            return self._execution.action(predict)
