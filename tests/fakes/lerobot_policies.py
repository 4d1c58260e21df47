"""Stand-ins for policies of LeRobot, with the parts that are called of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from segue.core.chunk import Continuation
from segue.core.observation import Observation
from segue.integrations.lerobot.policies.conditioning import Conditioning
from segue.integrations.lerobot.policies.fields import TOKEN_MASK, TOKENS
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.integrations.lerobot.policies.units import STATE, TASK, Batch

WIDTH, ACTION, HORIZON, TOP = 5, 2, 8, "observation.images.top"
SEEN = Observation(np.array([0.5, -1.0], np.float32), {"top": np.full((4, 4, 3), 51, np.uint8)}, "go")
PREFIX = np.array([[10.0, 0.1], [11.0, 0.2], [12.0, 0.3], [13.0, 0.4]], np.float32)
CONTINUATION = Continuation(0, PREFIX, 2, 4, np.ones(4, np.int64))


class Model(nn.Module):
    """Goes straight to where state and picture say, in LeRobot's time and sign: v' = (x - goal) / t'."""

    def __init__(self) -> None:
        super().__init__()
        self.action_in_proj = nn.Linear(WIDTH, WIDTH)
        with torch.no_grad():
            self.action_in_proj.weight.copy_(torch.eye(WIDTH))
            self.action_in_proj.bias.zero_()
        self.vlm_with_expert = SimpleNamespace(forward=self.prefill)

    def embed_prefix(
        self, pictures: list[Tensor], shown: list[Tensor], tokens: Tensor, mask: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        goal = state + pictures[0].mean((1, 2, 3))[:, None] + tokens.sum(1)[:, None]
        return goal[:, None], torch.ones(len(goal), 1, dtype=torch.bool), torch.zeros(len(goal), 1)

    def prefill(self, *, inputs_embeds: list[Tensor], attention_mask: Tensor, use_cache: bool, **_: Any) -> Any:
        assert use_cache
        assert attention_mask.all()
        return None, inputs_embeds[0][:, 0]

    def denoise_step(self, prefix_pad_masks: Tensor, past_key_values: Tensor, x_t: Tensor, timestep: Tensor) -> Tensor:
        return (self.action_in_proj(x_t) - past_key_values[:, None]) / timestep[:, None, None]


class SmolVLA(nn.Module):
    """What is called of a SmolVLA policy."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.model = Model()
        feature = SimpleNamespace
        self.config = SimpleNamespace(
            **{"type": "smolvla", "chunk_size": HORIZON, "num_steps": 4, "max_action_dim": WIDTH,
               "input_features": {STATE: feature(shape=(2,))}, "output_features": {"action": feature(shape=(ACTION,))},
               "image_features": {TOP: feature(shape=(3, 4, 4))}, **settings}
        )  # fmt: skip

    def save_pretrained(self, folder: Path) -> None:
        save_file(self.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text("{}")

    def prepare_images(self, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        assert batch[TOP].shape[1:] == (3, 4, 4)
        return [batch[TOP]], [torch.ones(len(batch[TOP]), dtype=torch.bool)]

    def prepare_state(self, batch: Batch) -> Tensor:
        return nn.functional.pad(batch[STATE], (0, WIDTH - 2))


def preprocess(batch: Batch) -> Batch:
    """Normalises the state, counts the letters of the task."""
    seen = dict(batch)
    seen[STATE] = batch[STATE] / 10
    if "action" in batch:
        seen["action"] = (batch["action"] - torch.tensor([10.0, 0.0])) / torch.tensor([2.0, 0.1])
    seen[TOKENS] = torch.tensor([[len(task)] for task in batch[TASK]])
    seen[TOKEN_MASK] = torch.ones_like(seen[TOKENS], dtype=torch.bool)
    return seen


def postprocess(actions: Tensor) -> Tensor:
    return actions * torch.tensor([2.0, 0.1]) + torch.tensor([10.0, 0.0])


def policy(conditioning: Conditioning | None = None, **settings: Any) -> LeRobotFlowPolicy:
    return LeRobotFlowPolicy(SmolVLA(**settings), preprocess, postprocess, dt=0.02, conditioning=conditioning)


class ACT(nn.Module):
    """What is called of an ACT policy: its chunk is where the state says."""

    config = SimpleNamespace(
        type="act",
        chunk_size=HORIZON,
        n_obs_steps=1,
        input_features={STATE: SimpleNamespace(shape=(2,))},
        output_features={"action": SimpleNamespace(shape=(ACTION,))},
        image_features={},
    )

    def predict_action_chunk(self, batch: Batch) -> Tensor:
        return batch[STATE][:, None].expand(-1, HORIZON, -1)
