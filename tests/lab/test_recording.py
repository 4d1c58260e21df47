"""Recorded episodes: what is measured without a policy, and what a recorder keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fakes.point_mass import PointMass, demonstrations
from segue.cli import app
from segue.core.dimensions import Dimensions
from segue.core.robot import check_robot
from segue.core.smoothness import jerk, normalised
from segue.data.episodes import Episodes
from segue.data.lerobot import reader, writer
from segue.errors import DataError
from segue.lab.recording import recording_metrics, roughest, standing
from segue.lab.scales import action_scale
from segue.lab.tasks.recorder import Recorder, recorded


def episodes_of(*paths: np.ndarray) -> Episodes:
    action = np.concatenate(paths).astype(np.float32)
    names = tuple(f"joint {i}" for i in range(action.shape[1]))
    ends = np.cumsum([len(path) for path in paths])
    return Episodes(action, action, ends, 0.1, names, names, tuple(range(len(names))), "")


def value(episodes: Episodes, label: str, every: int | None = None, first: int = 0) -> float:
    return {each.label: each.interval.value for each in recording_metrics(episodes, every, first)}[label]


def test_jerk_is_the_mean_over_episodes_of_the_normalised_third_difference() -> None:
    rng = np.random.default_rng(0)
    episodes = episodes_of(rng.normal(size=(20, 2)), rng.normal(size=(30, 2)))
    path = normalised(episodes.action, action_scale(episodes))
    expected = np.mean([jerk(path[:20]).mean(), jerk(path[20:]).mean()])
    assert value(episodes, "Commanded jerk per step") == pytest.approx(expected)
    assert value(episodes, "Commanded jerk") == pytest.approx(expected * 1000)
    assert value(episodes, "Measured jerk") == pytest.approx(expected * 1000, rel=1e-5)


def test_a_step_every_chunk_shows_at_the_seams_only() -> None:
    time = np.arange(40.0)
    path = np.stack([0.1 * time + np.floor(time / 8), np.sin(time / 20)], 1)
    episodes = episodes_of(path)
    scale = action_scale(episodes)
    assert value(episodes, "Seam jump", every=8) == pytest.approx(1 / scale[0] / np.sqrt(2), rel=0.02)
    assert value(episodes, "Seam jump", every=8, first=4) < 0.02
    assert value(episodes, "Seam ratio", every=8) > 100


def test_a_state_without_the_names_of_the_actions_is_left_out() -> None:
    one = episodes_of(np.random.default_rng(0).normal(size=(20, 2)))
    labels = [each.label for each in recording_metrics(replace(one, state_of_action=(None, None)))]
    assert "Measured jerk" not in labels
    assert "Commanded jerk" in labels


def test_the_roughest_dimensions_come_first() -> None:
    rng = np.random.default_rng(0)
    smooth, rough = np.linspace(0, 1, 50), rng.normal(size=50)
    (first, share), (second, rest) = roughest(episodes_of(np.stack([smooth, rough], 1)))
    assert (first, second) == ("joint 1", "joint 0")
    assert share > 0.99
    assert share + rest == pytest.approx(1)
    assert roughest(episodes_of(np.zeros((9, 2)))) == []


RESTING = {
    "nothing": lambda time, rng: 0 * time,
    "micrometres of noise": lambda time, rng: 2e-6 * rng.normal(size=len(time)),
    "a tenth of a millimetre of noise": lambda time, rng: 1e-4 * rng.normal(size=len(time)),
    "one tick of an encoder": lambda time, rng: 1.5e-4 * rng.integers(0, 2, len(time)),
    "noise on a slow drift": lambda time, rng: 2e-5 * time + 2e-6 * rng.normal(size=len(time)),
}


@pytest.mark.parametrize("rest", RESTING)
@pytest.mark.parametrize("rate", [30, 100, 500])
def test_a_dimension_that_stands_still_decides_nothing(rest: str, rate: int) -> None:
    time = np.arange(20 * rate) / rate
    moving = 0.1 * np.stack([np.sin(time), np.cos(0.7 * time)], 1)
    moving[8 * rate :] += 0.02  # a seam
    resting = 0.3 + RESTING[rest](time, np.random.default_rng(0))[:, None]
    alone, beside = episodes_of(moving), episodes_of(np.hstack([moving, resting]))
    for one, other in zip(recording_metrics(alone, 8), recording_metrics(beside, 8), strict=True):
        assert other.interval.value == pytest.approx(one.interval.value, rel=0.05), one.label
    assert [name for name, _ in roughest(beside)] == [name for name, _ in roughest(alone)]
    assert standing(beside) == ["joint 2"]
    assert standing(alone) == []


def test_a_smooth_drift_counts_and_decides_nothing() -> None:
    time = np.arange(2000) / 100
    moving = 0.1 * np.stack([np.sin(time), np.cos(0.7 * time)], 1)
    moving[800:] += 0.02  # a seam
    alone, beside = episodes_of(moving), episodes_of(np.hstack([moving, 2e-5 * time[:, None]]))
    for one, other in zip(recording_metrics(alone, 8), recording_metrics(beside, 8), strict=True):
        share = np.sqrt(2 / 3) if one.label == "Seam jump" else 1  # a root mean square over the dimensions
        assert other.interval.value == pytest.approx(share * one.interval.value, rel=0.05), one.label


def test_a_recorder_is_a_simulator_and_keeps_what_was_commanded() -> None:
    robot = Recorder(PointMass())
    check_robot(robot)
    robot.reset(3)
    robot.hold()
    assert robot.frames == [], "before the first command nothing is commanded"
    before, beyond = robot.observe(), robot.spec.action_high * 2
    robot.send(beyond)
    robot.hold()
    found = recorded(robot.spec, [robot.frames, []], "test")
    assert len(found) == 1
    np.testing.assert_array_equal(found.observation[0], before)
    np.testing.assert_array_equal(found.action, np.stack([robot.spec.action_high] * 2))
    with pytest.raises(DataError, match="without a single command"):
        recorded(robot.spec, [[]], "test")


def test_a_held_displacement_is_none_but_for_the_gripper() -> None:
    kinds = Dimensions.of("displacement", "gripper")
    spec = replace(PointMass().spec, action_names=("move x", "pinch"), action_kinds=kinds)
    robot = Recorder(PointMass())
    robot.spec = spec
    robot.reset(0)
    robot.send(np.array([0.5, 0.25], np.float32))
    robot.hold()
    np.testing.assert_array_equal(robot.frames[1][1], [0, 0.25])


def test_measuring_and_converting_from_the_command_line(tmp_path: Path) -> None:
    source = writer.save(demonstrations(), tmp_path / "set", task="t")
    shown = CliRunner().invoke(app.app, ["metrics", str(source), "--every", "8"])
    assert shown.exit_code == 0
    assert "Seam jump" in shown.output
    assert " to " in shown.output
    alone = writer.save(demonstrations((30,)), tmp_path / "alone", task="t")
    shown = CliRunner().invoke(app.app, ["metrics", str(alone), "--every", "8"])
    assert "Seam jump" in shown.output
    assert "nan" not in shown.output
    done = CliRunner().invoke(app.app, ["convert", str(source), str(tmp_path / "copy"), "--task", "again"])
    assert done.exit_code == 0
    np.testing.assert_array_equal(reader.load(tmp_path / "copy").action, demonstrations().action)
