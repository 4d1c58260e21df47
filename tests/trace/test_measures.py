"""A recorded run measured like a simulated one: the same numbers, from the file alone."""

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import point_mass
from fakes.recorded_runs import EXECUTION_HORIZON, HORIZON, Run, towards
from segue.core.chunk import Continuation
from segue.core.dimensions import Dimensions
from segue.core.metrics import METRICS, EpisodeRecord, episode_metrics
from segue.core.robot import RobotSpec
from segue.errors import DataError
from segue.lab.delays import Fixed, Recorded
from segue.lab.rollout import Scales, Timing, rollout
from segue.plan.plan import Handover
from segue.trace import measures as measured
from segue.trace.file import Trace, read

SCALES = Scales(np.array([0.3, 0.5]), 0.4)
GRIPPING = Dimensions.of("displacement", "gripper")
VELOCITY = replace(point_mass.SPEC, command="velocity", action_names=("x", "gripper"), action_kinds=GRIPPING)


class Towards:
    """`traced.towards` as a batched policy."""

    def next_chunks(self, observations: np.ndarray, continuations: list[Continuation], _: Any) -> list[np.ndarray]:
        return [towards(each, continuation) for each, continuation in zip(observations, continuations, strict=True)]


def simulated(seed: int, delay: int, handover: Handover, steps: int) -> EpisodeRecord:
    timing = Timing(HORIZON, EXECUTION_HORIZON, Fixed(delay), handover, steps)
    policy: Any = Towards()
    [record] = rollout(policy, [point_mass.PointMass()], [seed], timing, SCALES)
    return record


@pytest.mark.parametrize("handover", Handover)
@pytest.mark.parametrize("sends_holds", [True, False])
def test_a_trace_gives_the_measures_of_the_rollout_that_it_recorded(
    tmp_path: Path, handover: Handover, sends_holds: bool
) -> None:
    run = Run(tmp_path / "t", handover, scale=SCALES.action, cruise_speed=SCALES.cruise_speed)
    references = []
    for seed in (3, 5):
        record = simulated(seed, 2, handover, steps=40)
        references.append(record)
        run.reset(seed)
        run.under_way = None
        for _ in range(len(record.commands)):
            run.step(2, sends_holds=sends_holds)
    run.writer.close()
    for run_record, record in zip(measured.episode_records(read(tmp_path / "t")), references, strict=True):
        found = episode_metrics(run_record)
        # The trace measures before each command, so that it knows nothing of what the last one did.
        seams = tuple(seam for seam in record.seams if seam.step < len(record.commands) - 1)
        same = replace(
            record, commands=record.commands[:-1], measured=record.measured[:-1], seams=seams, completion_step=None,
            outcome=replace(record.outcome, success=False),
        )  # fmt: skip
        expected = episode_metrics(same)
        for name in METRICS.keys() - {*measured.OF_THE_TASK, "inference_time", "inference_calls"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5, nan_ok=True), name
        assert 0 <= record.inference_calls - found["inference_calls"] <= 1  # one may be on its way at the end


def recorded(path: Path, delays: list[int], **settings: Any) -> Trace:
    run = Run(path, **settings)
    for delay in delays:
        run.step(delay)
    run.writer.close()
    return read(path)


def test_delays_are_actions_executed_from_request_to_arrival(tmp_path: Path) -> None:
    # Asked for at steps 0, 4 and 8; while the third is on its way, 8 actions are left, and then the robot holds.
    trace = recorded(tmp_path / "t", [3, 0, 0, 0, 1, 0, 0, 0, 30, *[2] * 60])
    executed, planned = measured.delays(trace)
    found = executed.tolist()
    assert found[:3] == [1, 8, 2]
    assert set(found[3:]) == {2}
    assert planned.tolist()[:4] == [2, 1, 4, 8]  # the estimate at first, then what was observed, what is known at most
    switched = trace.ticks[trace.ticks["event"] == measured.SWITCHED]
    assert found == switched["delay"].tolist()[1:]  # nothing was executed before the first


def test_latencies_are_without_the_first_and_those_given_up(tmp_path: Path) -> None:
    run = Run(tmp_path / "t")
    for place in range(30):
        run.step(2, lost=place == 8)
    run.writer.close()
    trace = read(tmp_path / "t")
    assert 9.0 in trace.chunks["seconds"]
    numbers = [number for number in trace.chunks["number"] if number not in (1, 3)]
    assert measured.latencies(trace) == pytest.approx([0.1 * number for number in numbers])


def test_a_trace_is_a_delay_trace(tmp_path: Path) -> None:
    recorded(tmp_path / "t", [2] * 30)
    model = Recorded.from_file(tmp_path / "t", dt=0.1)
    assert model.steps == (2, 3, 4, 5, 6, 7)  # request n took n tenths of a second, and the first does not count


def test_a_trace_without_an_answer_is_no_delay_trace(tmp_path: Path) -> None:
    recorded(tmp_path / "t", [2] * 3)
    with pytest.raises(DataError, match="no second inference"):
        Recorded.from_file(tmp_path / "t", dt=0.1)


def one_episode(trace: Trace) -> EpisodeRecord:
    [record] = measured.episode_records(trace)
    return record


def with_robot(trace: Trace, **changes: Any) -> Trace:
    return Trace({**trace.header, "robot": {**trace.header["robot"], **changes}}, trace.ticks, trace.chunks, (0, 0))


def test_without_the_demonstrations_the_unit_is_the_runs_own(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "t", [2] * 40)
    record = one_episode(trace)
    assert record.scale == pytest.approx(measured.commands_of(trace.ticks, record.spec).std(axis=0))
    assert math.isnan(record.cruise_speed)
    assert measured.scale_of(trace, [])[1] is False
    stated, theirs = measured.scale_of(with_robot(trace, scale=[2.0, 3.0]), [])
    assert stated.tolist() == [2, 3]
    assert theirs


def test_the_pose_comes_from_the_observations_when_it_is_among_them(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "t", [2] * 30)
    poses = one_episode(trace).measured
    assert np.array_equal(poses, trace.ticks["pose"])
    names = [name for name in trace.ticks.dtype.names or () if name != "pose"]
    ticks = np.zeros(len(trace.ticks), [*((name, trace.ticks.dtype[name]) for name in names), ("pose", "<f8", (0,))])
    for name in names:
        ticks[name] = trace.ticks[name]
    observed = one_episode(Trace(trace.header, ticks, trace.chunks, (0, 0))).measured
    assert observed == pytest.approx(poses, abs=1e-6)
    unknown = Trace(
        {**trace.header, "robot": {**trace.header["robot"], "pose_names": ["q [rad]"]}}, ticks, trace.chunks, (0, 0)
    )
    found = episode_metrics(one_episode(unknown))
    assert math.isnan(found["jerk_measured"])
    assert math.isnan(found["hesitation"])
    assert found["jerk_command"] > 0


@pytest.mark.parametrize("spec", [point_mass.SPEC, VELOCITY], ids=["position", "velocity"])
def test_what_a_tick_without_a_command_commands(spec: RobotSpec) -> None:
    ticks = np.zeros(5, [("action", "<f4", (2,)), ("index", "<i4")])
    # at rest before the first action of a chunk the ladder says where to stay: no part of the motion
    ticks["action"] = [[9, 9], [1, 2], [np.nan, np.nan], [3, 4], [np.nan, np.nan]]
    ticks["index"] = [-1, 0, -1, 1, -1]
    expected = {
        "position": [[1, 2], [1, 2], [1, 2], [3, 4], [3, 4]],
        "velocity": [[0, 2], [1, 2], [0, 2], [3, 4], [0, 4]],
    }
    assert measured.commands_of(ticks, spec).tolist() == expected[spec.command]
    ticks["action"] = np.nan
    assert measured.commands_of(ticks, spec).tolist() == [[0, 0]] * 5


def test_an_epoch_without_an_action_is_no_episode(tmp_path: Path) -> None:
    run = Run(tmp_path / "t")
    run.step(50)
    run.reset(1)
    for _ in range(10):
        run.step(1)
    run.writer.close()
    assert len(measured.episode_records(read(tmp_path / "t"))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "arm", "dt": -1},
        {"action_low": "low"},
        {"action_names": ["one"], "action_low": [0.0], "action_high": [1.0]},
        {"scale": [1.0]},
        {"cruise_speed": "fast"},
        {"command": "torque"},
    ],
)
def test_a_robot_that_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    trace = recorded(tmp_path / "t", [2] * 10)
    with pytest.raises(DataError, match="says of its robot"):
        measured.episode_records(with_robot(trace, **changes))


@pytest.mark.parametrize("robot", [None, {}, [], {"name": "arm"}])
def test_a_header_without_a_robot_is_refused(tmp_path: Path, robot: Any) -> None:
    trace = recorded(tmp_path / "t", [2] * 10)
    with pytest.raises(DataError, match="says of its robot"):
        measured.episode_records(Trace({**trace.header, "robot": robot}, trace.ticks, trace.chunks, (0, 0)))


def test_limits_beyond_single_precision_are_refused_without_a_warning(tmp_path: Path) -> None:
    trace = with_robot(recorded(tmp_path / "t", [2] * 3), action_high=[1e300, 1.0])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(DataError, match="finite numbers of 32 bits"):
            measured.robot_spec(trace)
    assert not told
