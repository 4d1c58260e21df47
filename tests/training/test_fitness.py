"""What would spoil a training is named, with its place, before the training; sound demonstrations are left in peace."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fakes import point_mass_with_pictures as sighted
from fakes.point_mass import demonstrations, recipe
from segue.cli.app import app
from segue.data import episodes as archives
from segue.data.episodes import Episodes
from segue.data.lerobot import reader, writer
from segue.data.origin import Instructions, Origin
from segue.errors import DataError
from segue.training.fitness import check_seen, findings


def texts(episodes: Episodes, horizon: int = 8) -> str:
    return "\n".join(each.text for each in findings(episodes, horizon))


def fatal(episodes: Episodes, horizon: int = 8) -> list[str]:
    return [each.text for each in findings(episodes, horizon) if each.fatal]


def moving(frames: int = 400, ends: Any = None) -> Episodes:
    """Two joints and a binary gripper that leave nothing to complain about."""
    t = np.arange(frames) / 20
    action = np.stack([np.sin(t), np.cos(0.7 * t), (np.sin(0.3 * t) > 0) * 1.0], 1).astype(np.float32)
    seen = np.concatenate([np.zeros((1, 3), np.float32), action[:-1]])
    names = ("shoulder", "elbow", "gripper")
    ends = np.array([frames // 2, frames]) if ends is None else np.asarray(ends)
    return Episodes(seen, action, ends, 0.05, names, names, (0, 1, 2), "")


def changed(episodes: Episodes, place: Any, value: Any) -> Episodes:
    action = episodes.action.copy()
    action[place] = value
    return replace(episodes, action=action)


def test_sound_demonstrations_are_left_in_peace() -> None:
    assert findings(moving(), 32) == []
    assert fatal(demonstrations()) == []


@pytest.mark.parametrize(
    ("place", "value"), [((207, 0), 1e4), ((207, 1), -50.0), ((207, 2), 300.0), ((slice(207, 209), 0), 1e6)]
)
def test_an_outlier_is_named_with_its_place(place: Any, value: float) -> None:
    said = texts(changed(moving(), place, value))
    name = moving().action_names[place[1]]
    assert f"action {name!r} is {value:.6g}" in said
    assert "(episode 1, step 7)" in said or "(episode 1, step 8)" in said


def test_an_outlier_of_what_is_observed_is_named_too() -> None:
    whole = moving()
    seen = whole.observation.copy()
    seen[7, 1] = 1e3
    assert "observation 'elbow' is 1000 in frame 7 (episode 0, step 7)" in texts(replace(whole, observation=seen))


@pytest.mark.parametrize(("turn", "unit"), [(2 * np.pi, "rad"), (360.0, "degrees")])
def test_an_angle_that_wraps_is_named(turn: float, unit: str) -> None:
    angle = (np.arange(400) * turn / 90) % turn - turn / 2
    said = texts(changed(moving(), (slice(None), 0), angle))
    assert "action 'shoulder' steps by" in said
    assert f"({unit})" in said
    assert "wraps" not in texts(changed(moving(), (slice(None), 0), np.arange(400) * turn / 90))


def test_an_action_on_the_other_side_of_a_turn_than_its_state() -> None:
    whole = moving()
    seen = 3.1 + 0.02 * np.sin(np.arange(400) / 9).astype(np.float32)
    action = seen + 0.01
    action[300:310] -= 2 * np.pi
    states = whole.observation.copy()
    states[:, 1] = seen
    said = texts(changed(replace(whole, observation=states), (slice(None), 1), action))
    assert "action 'elbow' and its state are 6.27 (rad) apart in frame 300 (episode 1, step 100), 10 times" in said


def test_a_step_between_episodes_is_no_wrap() -> None:
    parts = np.repeat([-3.1, 3.1], 200) + 0.05 * np.sin(np.arange(400) / 9)
    assert "wraps" not in texts(changed(moving(), (slice(None), 0), parts))


def test_a_quaternion_that_changes_its_sign_is_named() -> None:
    half = np.linspace(0, 1, 400)
    turning = np.stack([np.cos(half), np.sin(half), 0 * half, 0 * half], 1).astype(np.float32)
    names = ("qw", "qx", "qy", "qz")
    whole = replace(moving(), action=turning, action_names=names, state_of_action=(None,) * 4)
    assert "change their sign" not in texts(whole)
    turning = turning.copy()
    turning[50:120] *= -1
    assert "'qw' to 'qz' change their sign together after frame 49" in texts(replace(whole, action=turning))


def test_what_never_changes_is_named() -> None:
    assert "action 'gripper' never changes" in texts(changed(moving(), (slice(None), 2), 0.3))
    still = np.float32(0.3) + np.random.default_rng(0).normal(0, 1e-5, 400)
    assert "action 'gripper' stands still but for noise" in texts(changed(moving(), (slice(None), 2), still))
    assert fatal(changed(moving(), slice(None), 1.0)) == ["no action ever changes: there is no motion to learn"]


def test_episodes_too_short_for_a_chunk() -> None:
    assert "train with --horizon 3" in fatal(demonstrations((3, 2)), 8)[0]
    assert fatal(demonstrations((1, 1)), 8)[0].startswith("no episode has more than one frame")
    assert "2 of 3 episodes have one frame only: 0, 2" in texts(demonstrations((1, 40, 1)), 8)


def test_actions_that_are_small_in_their_unit() -> None:
    tiny = moving()
    assert "below what normalisation adds" in texts(replace(tiny, action=tiny.action * np.float32(1e-4)))


def test_actions_that_are_the_state_of_the_same_frame() -> None:
    whole = moving()
    assert "a policy learns to stay where it is" in texts(replace(whole, observation=whole.action))


def test_several_instructions_are_named_with_their_episodes() -> None:
    told = Instructions(("left", "right"), np.repeat([0, 1], 200))
    said = texts(replace(moving(), instructions=told))
    assert "2 instructions" in said
    assert "'left' in episodes 0; 'right' in episodes 1" in said
    one = Instructions(("left", "right"), np.zeros(400, np.int64))
    assert "instructions" not in texts(replace(moving(), instructions=one))


def test_cameras_that_nobody_would_see_stop_a_training() -> None:
    whole = replace(moving(), origin=Origin(unseen=("front", "top")))
    assert "cameras front, top are not read" in texts(whole)
    with pytest.raises(DataError, match=r"front, top[\s\S]*--cameras front,top[\s\S]*--blind"):
        check_seen(whole, blind=False, readable=("front", "top"))
    with pytest.raises(DataError, match=r"add --blind"):
        check_seen(whole, blind=False, readable=())
    check_seen(whole, blind=True, readable=())
    check_seen(moving(), blind=False, readable=())
    check_seen(replace(sighted.demonstrations(), origin=Origin(unseen=("top",))), blind=False, readable=("top",))


def test_relative_actions_need_a_state_to_be_relative_to() -> None:
    alone = replace(demonstrations(), state_of_action=(None, None))
    with pytest.raises(DataError, match="none of 2 has a state"):
        recipe(relative=True).policy(alone)
    recipe(relative=False).policy(alone)


# on the command line


def seen(root: Path) -> Path:
    """A data set with a camera, as its info.json says."""
    writer.save(moving(), root, task="reach")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.front"] = {"dtype": "video", "shape": [96, 128, 3]}
    info["features"]["observation.effort"] = {"dtype": "float32", "shape": [2]}
    info["robot_type"] = "so101"
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


def run(*words: Any) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split()), str(result.exception or "")


def test_check_judges(tmp_path: Path) -> None:
    status, said, _ = run("check", seen(tmp_path / "set"))
    assert status == 0
    assert "can be used" in said
    assert "cameras observation.images.front are not read" in said
    assert "not read: observation.effort" in said
    archives.save(demonstrations((3,)), tmp_path / "short.npz")
    status, said, _ = run("check", tmp_path / "short.npz")
    assert status == 1
    assert "can be used" not in said
    assert run("check", tmp_path / "short.npz", "--horizon", 3)[0] == 0


def test_train_stops_before_it_makes_a_blind_policy(tmp_path: Path) -> None:
    root, out = seen(tmp_path / "set"), tmp_path / "run"
    status, _, error = run("train", "--data", root, "--out", out, "--updates", 2)
    assert status == 1
    assert "--cameras observation.images.front" in error
    assert not out.exists()
    assert "one of them" in run("train", "--data", root, "--blind", "--cameras", "x")[2]


def test_options_of_data_are_not_for_a_task() -> None:
    assert "--episodes, --skip-bad with the task" in run("train", "push-t", "--episodes", "0", "--skip-bad")[2]


def test_convert_keeps_what_it_can_and_lists_what_it_drops(tmp_path: Path) -> None:
    source = seen(tmp_path / "set")
    assert "observation.images.front" in run("convert", source, tmp_path / "out")[2], "its video is missing"
    assert not (tmp_path / "out").exists()
    status, said, _ = run("convert", source, tmp_path / "out", "--blind", "--task", "else")
    assert status == 0
    assert "robot type so101" in said
    assert "dropped: camera observation.images.front, observation.effort, --task 'else'" in said
    found = reader.load(tmp_path / "out")
    assert found.origin.robot_type == "so101"
    assert found.instructions is not None
    assert found.instructions.used == ("reach",)


def test_convert_keeps_cameras_without_being_asked(tmp_path: Path) -> None:
    source = writer.save(sighted.demonstrations(), tmp_path / "set", task="move the mass")
    status, said, _ = run("convert", source, tmp_path / "out")
    assert status == 0
    assert f"camera observation.images.{sighted.CAMERA.removeprefix('observation.images.')}" in said
    assert "dropped: nothing" in said
    (key,) = reader.load(tmp_path / "out").origin.unseen
    np.testing.assert_array_equal(
        reader.load(tmp_path / "out", cameras=[key]).pictures[key][:],
        sighted.demonstrations().pictures[sighted.CAMERA][:],
    )


@pytest.mark.parametrize(
    ("ratio", "said"), [(180 / np.pi, "in degrees and the state in radians"), (1e-3, "in metres and the state in mill")]
)
def test_an_action_in_another_unit_than_its_state_is_named(ratio: float, said: str) -> None:
    whole = moving()
    other = changed(whole, (slice(None), 1), ratio * whole.action[:, 1])
    assert f"action 'elbow' is about {ratio:.4g} times its state: it seems to be {said}" in texts(other)
    assert "times its state" not in texts(changed(whole, (slice(None), 1), 3 * whole.action[:, 1]))


def test_actions_that_come_a_frame_late_are_named() -> None:
    whole = moving(ends=[400])
    late = np.concatenate([whole.observation[:1], whole.observation[:-1]])
    assert "is that state in the frame before" in texts(replace(whole, action=late))
    assert "is that state in the same frame" in texts(replace(whole, action=whole.observation))


def test_states_that_repeat_while_the_actions_go_on_are_named() -> None:
    whole = moving()
    slow = whole.observation[np.arange(400) // 2 * 2]
    assert "50% of the states are those of the frame before" in texts(replace(whole, observation=slow))
    resting = changed(replace(whole, observation=slow), slice(None), slow)  # nothing moves, nothing is late
    assert "states are those of the frame before" not in texts(resting)


def test_episodes_that_are_there_twice_are_named() -> None:
    whole = moving()
    rows = np.concatenate([np.arange(400), np.arange(200)])
    twice = replace(
        whole, observation=whole.observation[rows], action=whole.action[rows], ends=np.array([200, 400, 600])
    )
    assert "1 of 3 episodes are there before, number for number: 2 is 0" in texts(twice)
