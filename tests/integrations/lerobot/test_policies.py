"""Policies of LeRobot as policies of ours, against stand-ins that have the parts which are called of it.

`tests/with_lerobot/test_their_*` hold the same against LeRobot's own classes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fakes.lerobot_policies import (
    ACT,
    ACTION,
    CONTINUATION,
    HORIZON,
    PREFIX,
    SEEN,
    TOP,
    WIDTH,
    SmolVLA,
    policy,
    postprocess,
    preprocess,
)
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation
from segue.errors import CheckpointError, SpecError, UnknownNameError
from segue.integrations.lerobot import chosen
from segue.integrations.lerobot.policies import checkpoint
from segue.integrations.lerobot.policies.chunks import CHUNKS, LeRobotChunkPolicy
from segue.integrations.lerobot.policies.conditioning import Conditioning, InputChannel, SpareDimension
from segue.integrations.lerobot.policies.fields import visible
from segue.integrations.lerobot.policies.fine_tuning import FineTuning, fine_tune
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.integrations.lerobot.policies.units import STATE, TASK, Batch
from segue.plan.plan import Handover
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.predictors.predictor import PredictivePolicy
from segue.strategies.blend import CrossFade
from segue.strategies.legato import Legato, LegatoObjective
from segue.strategies.naive import Naive
from segue.strategies.rtc import RTC, identity
from segue.strategies.training_time_rtc import TrainingTimeRTC


def goal() -> np.ndarray:
    """Where the stand-in goes: state, picture and task, in the robot's units."""
    normalised = np.array([0.05, -0.1]) + 51 / 255 + len("go")
    return normalised * [2.0, 0.1] + [10.0, 0.0]


def test_time_and_sign_are_turned_around_once() -> None:
    chunk = ContinuingPolicy(policy(), Naive()).next_chunk(SEEN, nothing_to_continue(0, ACTION, 4))
    np.testing.assert_allclose(chunk, np.tile(goal(), (HORIZON, 1)), rtol=1e-5)


def test_what_is_known_of_it_is_in_our_words() -> None:
    spec = ContinuingPolicy(policy(), Naive()).spec
    assert (spec.horizon, spec.dt, spec.cameras) == (HORIZON, 0.02, {"top": (4, 4)})
    assert spec.action_names == ("action 0", "action 1")
    assert policy().denoising_steps == 4


@pytest.mark.parametrize("jacobian", [identity, RTC().jacobian])
def test_guidance_reaches_the_previous_chunk(jacobian: Any) -> None:
    strategy = RTC(jacobian=jacobian, shape="step", clip=5.0)
    chunk = ContinuingPolicy(policy(), strategy).next_chunk(SEEN, CONTINUATION)
    free = ContinuingPolicy(policy(), Naive()).next_chunk(SEEN, CONTINUATION)
    np.testing.assert_allclose(chunk[2:], free[2:], rtol=1e-5)
    if jacobian is identity:  # d = 2 committed; the last step's gain of 4.3 over 4 steps takes the error out, and more
        assert np.abs(chunk[:2] - PREFIX[:2]).max() < 0.2 * np.abs(free[:2] - PREFIX[:2]).max()
    else:  # the estimate of this network is its goal, whatever it sees: nothing to carry back
        np.testing.assert_allclose(chunk, free, rtol=1e-4)


@pytest.mark.parametrize("conditioning", [InputChannel(), SpareDimension()])
@pytest.mark.parametrize("strategy", [TrainingTimeRTC(), Legato()], ids=lambda each: type(each).__name__)
def test_told_networks_keep_what_is_committed(conditioning: Conditioning, strategy: Any) -> None:
    chunk = ContinuingPolicy(policy(conditioning), strategy).next_chunk(SEEN, CONTINUATION)
    np.testing.assert_allclose(chunk[:2], PREFIX[:2], rtol=1e-5)
    with pytest.raises(SpecError, match="fine-tune"):
        ContinuingPolicy(policy(), strategy).next_chunk(SEEN, CONTINUATION)


def test_fine_tuning_moves_the_channel() -> None:
    made = policy(InputChannel())
    generator = torch.Generator().manual_seed(0)
    shapes = {STATE: (4, 2), TOP: (4, 3, 4, 4), "action": (4, HORIZON, ACTION)}
    batch: Batch = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    batch[TASK] = ["go"] * 4
    channel = made.theirs.model.action_in_proj.channel
    assert not channel.any()
    fine_tune(made, [batch] * 3, LegatoObjective(own_share=0), FineTuning(updates=5, learning_rate=1e-2))
    assert channel.abs().max() > 1e-4


def test_tokens_see_their_own_block_and_earlier_ones() -> None:
    seen = visible(torch.tensor([[True, True, True, False]]), torch.tensor([[0, 0, 1, 1]]))
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert seen[0].int().tolist() == expected


def test_a_policy_of_finished_chunks_takes_its_own_number_of_steps() -> None:
    made = LeRobotChunkPolicy(ACT(), preprocess, postprocess, dt=0.02)
    seen, nothing = Observation(SEEN.state, {}, "go"), nothing_to_continue(0, ACTION, 4)
    chunk = ContinuingPolicy(made, Naive(), denoising_steps=1).next_chunk(seen, nothing)
    np.testing.assert_allclose(chunk, np.tile([10 + 2 * 0.05, -0.01], (HORIZON, 1)), rtol=1e-5)
    with pytest.raises(SpecError, match="5 denoising steps for a policy of LeRobot of type act"):
        ContinuingPolicy(made, Naive(), denoising_steps=5).next_chunk(seen, nothing)


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(UnknownNameError, match="smolvla"):
        policy(type="smolvlo")
    with pytest.raises(SpecError, match="names"):
        LeRobotFlowPolicy(SmolVLA(), preprocess, postprocess, dt=0.02, action_names=("only one",))
    with pytest.raises(SpecError, match="top"):
        ContinuingPolicy(policy(), Naive()).next_chunk(
            Observation(SEEN.state, {}, "go"), nothing_to_continue(0, ACTION, 4)
        )
    with pytest.raises(SpecError, match="ALOHA"):
        policy(adapt_to_pi_aloha=True)


class Tied(nn.Module):
    """Two layers of one weight, of which safetensors keeps one, and a copy of it that is a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.model: Any = nn.ModuleDict({name: nn.Linear(3, 3) for name in ("embed", "head", "copied")})
        self.model["head"].weight = self.model["embed"].weight
        with torch.no_grad():
            self.model["copied"].weight.copy_(self.model["embed"].weight)


def saved_weights(policy: nn.Module, file: Path, **renamed: str) -> Path:
    """All tensors of a policy but those that are the same as another; renamed, or left out with an empty name."""
    tensors = {renamed.get(name.replace(".", "_"), name): each for name, each in policy.state_dict().items()}
    save_file({name: each.clone() for name, each in tensors.items() if name}, file)
    return file


def test_every_weight_is_one_of_the_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made, file = Tied(), tmp_path / "model.safetensors"
    one_of_each = {"model_head_weight": "", "model_copied_weight": ""}
    checkpoint._check_loaded(made, saved_weights(made, file, **one_of_each))
    checkpoint._check_loaded(made, saved_weights(made, file, **one_of_each, model_head_bias="head.bias"))
    checkpoint._check_loaded(
        made, saved_weights(made, file, **one_of_each, model_head_bias="projection.bias")
    )  # found by its numbers
    with pytest.raises(CheckpointError, match=r"model\.head\.bias is in no tensor of .*model\.safetensors"):
        checkpoint._check_loaded(made, saved_weights(made, file, **one_of_each, model_head_bias=""))
    saved_weights(made, file, **one_of_each)
    with torch.no_grad():
        made.model["head"].bias += 1
    with pytest.raises(CheckpointError, match=r"model\.head\.bias of .* was not loaded"):
        checkpoint._check_loaded(made, file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="copy the folder whole"):
        checkpoint._check_loaded(made, file)


def test_a_module_under_another_name_is_not_passed_over(tmp_path: Path) -> None:
    """LeRobot takes what fits, and leaves the rest as it was drawn."""
    trained, loaded = nn.ModuleDict({"old": nn.Linear(3, 3)}), nn.ModuleDict({"new": nn.Linear(3, 3)})
    file = saved_weights(trained, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"new\.weight is in no tensor"):
        checkpoint._check_loaded(loaded, file)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in where LeRobot's own loading would be."""

    def theirs(folder: Path, device: str) -> Any:
        made = SmolVLA()
        made.load_state_dict(load_file(folder / "model.safetensors"))
        return made, preprocess, postprocess

    monkeypatch.setattr(checkpoint, "_theirs", theirs)


def channelled(value: float) -> LeRobotFlowPolicy:
    made = policy(InputChannel())
    with torch.no_grad():
        made.theirs.model.action_in_proj.channel.fill_(value)
    return made


def channel_of(made: Any) -> Tensor:
    return made.theirs.model.action_in_proj.channel


@pytest.mark.usefixtures("opened")
def test_a_folder_that_is_used_again_holds_the_last_policy_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    checkpoint.save(channelled(0.5), folder)
    (folder / "notes.txt").write_text("mine")
    assert torch.equal(channel_of(checkpoint.load(folder, dt=0.02)), torch.full((WIDTH,), 0.5))
    checkpoint.save(policy(SpareDimension()), folder)
    found = checkpoint.load(folder, dt=0.02)
    assert isinstance(found, LeRobotFlowPolicy)
    assert found.conditioning == SpareDimension()
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.json", "model.safetensors", "notes.txt", "segue.json",
    ]  # fmt: skip
    assert not channel_of(checkpoint.load(folder, dt=0.02, conditioning=InputChannel())).any()  # a new one, not the old


@pytest.mark.usefixtures("opened")
def test_the_weights_of_a_channel_are_those_of_a_channel(tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    checkpoint.save(policy(SpareDimension()), folder)
    save_file({"channel": torch.ones(WIDTH)}, folder / "segue.safetensors")  # left by an earlier version
    assert isinstance(checkpoint.load(folder, dt=0.02), LeRobotFlowPolicy)
    checkpoint.save(channelled(0.5), folder)
    (folder / "segue.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"segue\.safetensors"):
        checkpoint.load(folder, dt=0.02)


@pytest.mark.usefixtures("opened")
def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, second = tmp_path / "tuned", channelled(2.0)
    checkpoint.save(channelled(0.5), folder)

    def full(_: Any, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half of")
        raise OSError("no space left")

    monkeypatch.setattr(SmolVLA, "save_pretrained", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(second, folder)
    assert torch.equal(channel_of(checkpoint.load(folder, dt=0.02)), torch.full((WIDTH,), 0.5))
    assert torch.equal(channel_of(second), torch.full((WIDTH,), 2.0))
    assert [each.name for each in tmp_path.iterdir()] == ["tuned"]


def chosen_for_the_arm(monkeypatch: pytest.MonkeyPatch, theirs: type, folder: Path, method: str) -> Any:
    """What `segue run --policy lerobot:FOLDER` makes of a method."""
    monkeypatch.setattr(chosen, "_lerobot", lambda *_: None)
    if theirs is ACT:
        made = LeRobotChunkPolicy(ACT(), preprocess, postprocess, dt=0.02, observation_names=("a.pos", "b.pos"))
        monkeypatch.setattr(checkpoint, "load", lambda *_, **__: made)
    checkpoint.save(policy(), folder)
    (folder / "segue.json").unlink()  # as lerobot-train leaves it
    (folder / "config.json").write_text(json.dumps({"type": "act" if theirs is ACT else "smolvla"}))
    names = ["a.pos", "b.pos"]
    return chosen.policy(
        str(folder), method, dt=0.02, observation_names=names, action_names=names, action_kinds=["linear"] * 2
    )


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("legato", "was not trained to continue"),
        ("vlash", "was not trained to continue"),
        ("predictive-legato", "take rtc, rtc-identity"),
        ("rtc:predictor=learned", "take rtc, rtc-identity"),
        ("rtr", "take rtc, rtc-identity"),
        ("latent-rtc", "take rtc, rtc-identity"),
        ("a2c2", "correction=none"),
    ],
)
def test_a_method_that_wants_more_than_a_checkpoint_has_is_refused_before_the_arm_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, told: str
) -> None:
    with pytest.raises(SpecError, match=told):
        chosen_for_the_arm(monkeypatch, SmolVLA, tmp_path / "smolvla", method)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("theirs", "strategy"), [(SmolVLA, RTC(identity)), (ACT, CrossFade())], ids=["SmolVLA", "ACT"])
def test_the_commanded_state_goes_with_the_default_method_of_either_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: type, strategy: Any
) -> None:
    """`--predictor commanded` without `--method`."""
    made, handover = chosen_for_the_arm(monkeypatch, theirs, tmp_path / "p", f"{chosen.DEFAULT}:predictor=commanded")
    assert handover is Handover.CONTINUE
    assert isinstance(made, PredictivePolicy)
    inside: Any = made.policy
    assert inside.strategy == strategy


def test_a_trace_names_the_method_that_stands_in_place_of_the_default(tmp_path: Path) -> None:
    assert set(chosen.WITHOUT_VELOCITY) == set(CHUNKS)
    default = f"{chosen.DEFAULT}:predictor=commanded"
    assert chosen.method_for(tmp_path, default) == default  # the policy process says that there is no checkpoint
    for kind, said in {"act": "cross-fade", "smolvla": "rtc-identity"}.items():
        (tmp_path / "config.json").write_text(json.dumps({"type": kind}))
        assert chosen.method_for(tmp_path, default) == f"{said}:predictor=commanded"
        assert chosen.method_for(tmp_path, "rtc") == "rtc"
