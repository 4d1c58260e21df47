"""Fine-tuning of LeRobot's flow policies to continue, from checkpoints and back to checkpoints of theirs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_policies import ACTION, FLOW, HORIZON, STATE, TOP, WIDTH, module_of, processors, statistics, tiny
from torch import Tensor

from segue.errors import CheckpointError, DataError, SpecError, UnknownNameError
from segue.integrations.lerobot.policies.checkpoint import load, save
from segue.integrations.lerobot.policies.conditioning import Conditioning, InputChannel, PositionTime, SpareDimension
from segue.integrations.lerobot.policies.fine_tuning import FineTuning, demonstrated, fine_tune, openpi_time
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.strategies.legato import LegatoObjective
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Objective
from segue.strategies.training_time_rtc import TrainingTimeRTCObjective

TOLD = [(name, each) for name in FLOW for each in (InputChannel(), SpareDimension())] + [("pi05", PositionTime())]
OBJECTIVES = [LegatoObjective(own_share=0, max_delay=4, max_ramp=6), TrainingTimeRTCObjective(4)]


def batches(size: int = 8, seed: int = 4) -> Iterator[dict[str, Any]]:
    """As a LeRobotDataset gives them: the arm goes on from where it is at the speed that the state says."""
    generator = torch.Generator().manual_seed(seed)
    of_state, of_action = statistics()["observation.state"], statistics()["action"]
    while True:
        state = torch.randn(size, STATE, generator=generator)
        actions = state[:, None, :ACTION] + 0.1 * state[:, None, 4:] * torch.arange(HORIZON)[:, None]
        actions = of_action["mean"] + of_action["std"] * actions
        state = of_state["mean"] + of_state["std"] * state
        pad = torch.zeros(size, HORIZON, dtype=torch.bool)
        pad[0, -3:] = True
        pictures = torch.rand(size, 3, 64, 64, generator=generator)
        seen = {"observation.state": state, TOP: pictures, "task": ["put the cup"] * size}
        yield {**seen, "action": actions, "action_is_pad": pad}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a tiny policy as LeRobot's own training does."""

    def write(name: str) -> Path:
        policy, folder = tiny(name, tmp_path / "parts", monkeypatch), tmp_path / "pretrained_model"
        policy.save_pretrained(folder)
        for processor in processors(name, policy.config):
            processor.save_pretrained(folder)
        return folder

    return write


def velocity_at(policy: LeRobotFlowPolicy, w: float = 0.0) -> Tensor:
    _, seen = demonstrated(policy, next(batches(2)))
    x = torch.randn(2, HORIZON, WIDTH, generator=torch.Generator().manual_seed(6))
    x[..., -1] = 0
    weights = torch.zeros(2, HORIZON)
    weights[:, :3] = w
    with torch.no_grad():
        return policy.velocity(x, torch.tensor([0.3, 0.6]), weights, policy._encode(policy.theirs, seen))


@torch.no_grad()
def error_of(policy: LeRobotFlowPolicy, objective: Objective) -> float:
    """Loss on chunks that are not trained on, with noise, times and schedules that stay the same."""
    chunks, seen = demonstrated(policy, next(batches(64, seed=8)))
    return policy.loss(objective.pair(chunks, torch.Generator().manual_seed(9)), seen).item()


@pytest.mark.parametrize(("name", "conditioning"), TOLD, ids=str)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda each: type(each).__name__)
def test_training_teaches_and_the_checkpoint_opens_on_both_sides(
    name: str, conditioning: Conditioning, objective: Objective, checkpoint: Any, tmp_path: Path
) -> None:
    policy = load(checkpoint(name), dt=0.1, conditioning=conditioning)
    assert isinstance(policy, LeRobotFlowPolicy)
    plain = load(tmp_path / "pretrained_model", dt=0.1)
    assert isinstance(plain, LeRobotFlowPolicy)
    torch.testing.assert_close(velocity_at(policy)[..., :-1], velocity_at(plain)[..., :-1], rtol=0, atol=0)

    for weight in policy.parameters():
        weight.requires_grad_(True)
    before, shown = error_of(policy, objective), []
    config = FineTuning(updates=30, learning_rate=1e-2, warmup=1)
    fine_tune(policy, batches(), objective, config, show=lambda update, _: shown.append(update))
    assert shown == list(range(30))
    assert error_of(policy, objective) < 0.9 * before

    save(policy, tmp_path / "tuned")
    again = load(tmp_path / "tuned", dt=0.1)
    assert isinstance(again, LeRobotFlowPolicy)
    assert again.conditioning == conditioning
    for w in (0.0, 0.5, 1.0):
        torch.testing.assert_close(velocity_at(again, w), velocity_at(policy, w), rtol=0, atol=0)
    stock = getattr(module_of(name, "modeling"), type(policy.theirs).__name__).from_pretrained(tmp_path / "tuned")
    held = policy.theirs.state_dict()
    assert stock.state_dict().keys() == held.keys() - {"model.action_in_proj.channel"}
    assert all(torch.equal(weight, held[key]) for key, weight in stock.state_dict().items())


def test_the_channel_is_learned(checkpoint: Any) -> None:
    policy = load(checkpoint("smolvla"), dt=0.1, conditioning=InputChannel())
    assert isinstance(policy, LeRobotFlowPolicy)
    before = velocity_at(policy, 0.7)
    torch.testing.assert_close(before, velocity_at(policy, 0.0))  # it says nothing yet
    config = FineTuning(updates=10, learning_rate=1e-2, warmup=1)
    fine_tune(policy, batches(), LegatoObjective(own_share=0), config)
    assert (velocity_at(policy, 0.7) - velocity_at(policy, 0.0)).abs().max() > 1e-3


def test_what_lerobot_freezes_stays_frozen(checkpoint: Any) -> None:
    policy = load(checkpoint("smolvla"), dt=0.1, conditioning=InputChannel())
    assert isinstance(policy, LeRobotFlowPolicy)
    before = {name: weight.clone() for name, weight in policy.theirs.named_parameters()}
    fine_tune(policy, batches(), FlowMatching(), FineTuning(updates=2, learning_rate=1e-2, warmup=1))
    moved = {name for name, weight in policy.theirs.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert not any(name.startswith("model.vlm_with_expert.vlm.") for name in moved)


def test_padded_actions_and_padded_dimensions_teach_nothing(checkpoint: Any) -> None:
    policy = load(checkpoint("pi0"), dt=0.1, conditioning=InputChannel())
    assert isinstance(policy, LeRobotFlowPolicy)
    batch = next(batches())
    chunks, _ = demonstrated(policy, batch)
    assert torch.equal(chunks.valid, ~batch["action_is_pad"])
    assert not chunks.actions[..., ACTION:].any()
    changed = {**batch, "action": batch["action"].clone()}
    changed["action"][0, -3:] += 100.0
    losses = []
    for each in (batch, changed):
        chunks, seen = demonstrated(policy, each)
        pair = FlowMatching().pair(chunks, torch.Generator().manual_seed(0))
        pair.x[0, -3:] = 0  # the network may look at what is beyond the end, the loss may not
        losses.append(policy.loss(pair, seen).item())
    assert losses[0] == losses[1]


def test_flow_times_follow_openpi_s_law() -> None:
    t = openpi_time(200_000, torch.Generator().manual_seed(0), torch.float64)
    theirs = 1 - t
    assert theirs.min() >= 0.001
    assert theirs.max() <= 1
    assert theirs.mean().item() == pytest.approx(0.001 + 0.999 * 1.5 / 2.5, abs=3e-3)  # of Beta(a, 1): a / (a + 1)
    assert (theirs < 0.5).double().mean().item() == pytest.approx((0.499 / 0.999) ** 1.5, abs=5e-3)


def test_own_chunks_are_not_in_shuffled_batches(checkpoint: Any) -> None:
    policy = load(checkpoint("smolvla"), dt=0.1, conditioning=InputChannel())
    assert isinstance(policy, LeRobotFlowPolicy)
    with pytest.raises(SpecError, match="own_share=0"):
        fine_tune(policy, batches(), LegatoObjective(), FineTuning(updates=1))


def test_chunks_of_another_length_say_how_to_open_the_data(checkpoint: Any) -> None:
    policy = load(checkpoint("smolvla"), dt=0.1)
    assert isinstance(policy, LeRobotFlowPolicy)
    short = next(batches())
    short["action"] = short["action"][:, :5]
    with pytest.raises(DataError, match="delta_timestamps"):
        demonstrated(policy, short)


def test_weights_that_lerobot_did_not_load_are_noticed(checkpoint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoint("pi05")
    weights = load_file(folder / "model.safetensors")
    weights["model.time_mlp_in.weight"] = torch.zeros(3, 3)  # LeRobot prints a warning, and keeps random weights
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="was not loaded"):
        load(folder, dt=0.1)
    assert "Could not load state dict" in capsys.readouterr().out


def test_folders_that_are_none_say_so(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pretrained_model"):
        load(tmp_path / "nothing", dt=0.1)
    folder = checkpoint("smolvla")
    (folder / "segue.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"segue\.json"):
        load(folder, dt=0.1)
    (folder / "segue.json").write_text(json.dumps({"conditioning": "by telepathy"}))
    with pytest.raises(UnknownNameError, match="input-channel"):
        load(folder, dt=0.1)


@pytest.mark.parametrize("name", ["act", "diffusion"])
def test_chunk_policies_are_loaded_too(name: str, checkpoint: Any) -> None:
    policy = load(checkpoint(name), dt=0.1)
    assert policy.family == {"act": "regression", "diffusion": "diffusion"}[name]
    assert policy.spec.dt == 0.1
