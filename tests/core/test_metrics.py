import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.dimensions import Dimensions
from segue.core.metrics import METRICS, EpisodeRecord, commanded_path, episode_metrics, hesitation, prediction_error
from segue.core.robot import Outcome, RobotSpec
from segue.core.seams import Seam, overlap_rmse, seam_jump
from segue.core.smoothness import jerk, nldlj, nsparc, speed
from segue.data.episodes import Episodes
from segue.errors import SpecError
from segue.lab.scales import action_scale, cruise_speed, demonstration_metrics

DT = 0.1
STEPS = 40

ARM = RobotSpec(
    name="arm",
    dt=DT,
    observation_names=("joint 0", "joint 1", "object"),
    action_names=("target 0", "target 1"),
    action_low=np.full(2, -10, np.float32),
    action_high=np.full(2, 10, np.float32),
    command="position",
    pose_names=("joint 0 [rad]", "joint 1 [rad]"),
)
TOOL = replace(
    ARM,
    action_names=("move x", "move y", "gripper"),
    action_low=np.full(3, -1, np.float32),
    action_high=np.full(3, 1, np.float32),
    command="velocity",
    action_kinds=Dimensions.of("displacement", "displacement", "gripper"),
)
SUCCESS, FAILURE = Outcome(True, 1.0, True), Outcome(False, 0.25, False)


def wave(steps: int = STEPS) -> np.ndarray:
    u = np.arange(steps) / steps
    return np.stack([np.sin(3 * u), np.cos(5 * u)], axis=1)


def record(
    *,
    commands: np.ndarray | None = None,
    seams: tuple[Seam, ...] = (),
    outcome: Outcome = FAILURE,
    done: int | None = None,
) -> EpisodeRecord:
    commands = wave() if commands is None else commands
    return EpisodeRecord(
        spec=ARM,
        scale=np.array([2.0, 0.5]),
        commands=commands,
        measured=np.concatenate([np.zeros((1, 2)), commands[:, :2]]),
        seams=seams,
        outcome=outcome,
        completion_step=done,
        cruise_speed=1.0,
        max_steps=100,
        inference_calls=4,
        inference_seconds=0.2,
    )


def seam_at(step: int, disagreement: float, delay: int = 2) -> Seam:
    """Old and new differ by ``disagreement`` standard deviations everywhere."""
    new = np.zeros((8, 2))
    return Seam(step, step - delay, old=new[:6] + disagreement * np.array([2.0, 0.5]), new=new)


def test_every_metric_is_named_once_and_computed_in_order():
    assert all(name == metric.name for name, metric in METRICS.items())
    assert list(episode_metrics(record())) == list(METRICS)


def test_an_episode_without_seams_leaves_exactly_the_measures_of_seams_undefined():
    values = episode_metrics(replace(record(), prediction_errors=np.ones(1), surprises=np.ones(1)))
    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {name for name in METRICS if name.startswith(("seam", "overlap"))} | {"mode_switches"}


def test_without_a_predictor_the_measures_of_predictions_are_undefined():
    values = episode_metrics(record(seams=(seam_at(20, 0),)))
    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {"prediction_error", "surprising"}


def test_predictions_are_measured_as_means_over_those_that_were_compared():
    """Surprising is beyond 1; a request with nothing to compare, the first one, counts on neither side."""
    looked = replace(record(), prediction_errors=np.array([0.25, 0.75]), surprises=np.array([np.nan, 0.5, 1.0, 1.5, 9]))
    values = episode_metrics(looked)
    assert values["prediction_error"] == 0.5
    assert values["surprising"] == 0.5


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3), st.floats(0.1, 20))
def test_a_prediction_error_is_in_standard_deviations_of_the_dimensions_that_move(off, unit):
    seen, scale = np.array([3.0, -2.0, 7.0]), np.array([unit, 2 * unit, 0.0])
    error = prediction_error(seen + np.array(off), seen, scale)
    assert error == pytest.approx((abs(off[0]) / unit + abs(off[1]) / unit / 2) / 2, abs=1e-9)
    assert prediction_error(seen, seen, scale) == 0
    assert math.isnan(prediction_error(seen, seen, np.zeros(3)))
    kinds = Dimensions.of("angle:deg", "linear", "linear")
    turned = prediction_error(seen + np.array(off) + [720, 0, 0], seen, scale, kinds)
    assert turned == pytest.approx(error, abs=1e-9)


def test_measures_of_a_pose_are_those_of_the_motion_whatever_the_numbers_do_at_the_seam():
    turn = 0.1 * np.arange(STEPS + 1) + 3 + 0.001 * np.sin(np.arange(STEPS + 1))
    plain = replace(record(), measured=np.stack([turn, np.zeros(STEPS + 1)], 1), cruise_speed=1.0)
    kinds = Dimensions.of("angle", "linear")
    spec = replace(plain.spec, pose_names=("yaw [rad]", "x [m]"), pose_kinds=kinds)
    wrapped = replace(plain, spec=spec, measured=kinds.wrapped(plain.measured, [-np.pi, 0]))
    assert np.ptp(wrapped.measured[:, 0]) > 6
    one, other = episode_metrics(plain), episode_metrics(wrapped)
    for name in ("jerk_measured", "hesitation", "stall_time"):
        assert other[name] == pytest.approx(one[name], rel=1e-6), name
    with pytest.raises(SpecError, match="pose kinds"):
        replace(spec, pose_kinds=Dimensions.of("angle"))


def test_completion_time_counts_executed_steps():
    assert episode_metrics(record(outcome=SUCCESS, done=30))["completion_time"] == pytest.approx(30 * DT)


def test_completion_time_is_censored_at_the_limit():
    values = episode_metrics(record())
    assert values["completion_time"] == pytest.approx(100 * DT)
    assert (values["success"], values["score"]) == (0.0, 0.25)


def test_success_needs_a_completion_step():
    with pytest.raises(SpecError, match="completion step"):
        record(outcome=SUCCESS)


def test_measured_has_one_pose_more_than_commands():
    with pytest.raises(SpecError, match="40 poses for 40 commands"):
        replace(record(), measured=np.zeros((STEPS, 2)))


def test_smoothness_is_that_of_the_normalised_commands():
    values = episode_metrics(record(seams=(seam_at(20, 0),)))
    path = wave() / np.array([2.0, 0.5])
    profile = speed(path, DT)
    assert values["nsparc"] == nsparc(profile, DT)
    assert values["nldlj"] == nldlj(profile, DT)
    assert values["nldlj_interior"] == nldlj(profile, DT, [20])
    assert values["jerk_command_step"] == pytest.approx(np.mean(jerk(path)))


@settings(deadline=None)
@given(st.floats(0.01, 1))
def test_jerk_per_second_is_jerk_per_step_over_the_cube_of_dt(dt):
    values = episode_metrics(replace(record(), spec=replace(ARM, dt=dt)))
    assert values["jerk_command"] == pytest.approx(values["jerk_command_step"] / dt**3)


def test_jerk_of_a_cubic_command_is_constant():
    u = np.arange(float(STEPS))
    commands = np.stack([2.0 * u**3, np.zeros(STEPS)], axis=1)
    assert episode_metrics(record(commands=commands))["jerk_command_step"] == pytest.approx(6)


def test_jerk_measured_is_in_units_of_the_pose():
    time = np.arange(STEPS + 1) * DT
    measured = (time**3)[:, None] * np.array([3.0, 4.0])
    assert episode_metrics(replace(record(), measured=measured))["jerk_measured"] == pytest.approx(30)


def test_measures_of_seams_are_means_over_seams():
    seams = (seam_at(10, 0.2), seam_at(20, 1.0))
    values = episode_metrics(record(seams=seams))
    assert values["overlap_rmse"] == pytest.approx(0.6)
    assert values["overlap_rmse_free"] == pytest.approx(0.6)
    jumps = [seam_jump(wave(), seam.step, np.array([2.0, 0.5])) for seam in seams]
    assert values["seam_jump"] == pytest.approx(np.mean(jumps))


def test_committed_positions_count_in_the_whole_overlap_only():
    seam = seam_at(20, 0.0)
    seam.new[:2] += np.array([2.0, 0.5])
    values = episode_metrics(record(seams=(seam,)))
    assert values["overlap_rmse"] == pytest.approx(math.sqrt(2 / 6))
    assert values["overlap_rmse_free"] == 0


def test_mode_switches_are_counted_where_there_is_a_free_overlap():
    no_overlap = Seam(30, 28, old=np.full((2, 2), 9.0), new=np.zeros((8, 2)))
    seams = (seam_at(10, 0.4), seam_at(16, 0.6), seam_at(22, 3.0), no_overlap)
    assert episode_metrics(record(seams=seams))["mode_switches"] == 2
    assert math.isnan(episode_metrics(record(seams=(no_overlap,)))["mode_switches"])


def test_seams_where_a_measure_is_undefined_do_not_spoil_its_mean():
    seams = (seam_at(1, 0.3), seam_at(20, 0.3))
    values = episode_metrics(record(seams=seams))
    assert values["seam_jump"] == pytest.approx(seam_jump(wave(), 20, np.array([2.0, 0.5])))
    assert values["overlap_rmse"] == pytest.approx(overlap_rmse(seams[0], np.array([2.0, 0.5]), 0))


def test_an_offset_at_a_seam_shows_in_the_jump_and_not_in_velocity_or_acceleration():
    commands = np.zeros((STEPS, 2))
    commands[20:] = np.array([2.0, 0.5])
    values = episode_metrics(record(commands=commands, seams=(seam_at(20, 0),)))
    assert values["seam_jump"] == pytest.approx(1)
    assert values["seam_velocity_jump"] == pytest.approx(0)
    assert values["seam_acceleration_jump"] == pytest.approx(0)


def test_a_kink_at_a_seam_is_a_velocity_jump_per_second():
    u = np.maximum(np.arange(float(STEPS)) - 20, 0)
    commands = u[:, None] * np.array([2.0, 0.5])
    values = episode_metrics(record(commands=commands, seams=(seam_at(20, 0),)))
    assert values["seam_velocity_jump"] == pytest.approx(1 / DT)


def test_displacements_are_summed_up_and_the_gripper_is_no_motion():
    commands = np.tile([0.5, 0.0, 1.0], (10, 1))
    path = commanded_path(commands, np.array([0.5, 1.0, 1.0]), TOOL)
    np.testing.assert_allclose(path, np.stack([np.arange(1.0, 11), np.zeros(10)], axis=1))
    assert TOOL.motion == TOOL.kinds.moves == (0, 1)


def test_every_target_position_is_part_of_the_path():
    gripping = replace(ARM, action_names=("target 0", "gripper"))  # names decide nothing
    assert (gripping.motion, gripping.kinds.moves) == ((0, 1), ())


def test_a_hold_repeats_targets_and_commands_no_displacement():
    last = np.array([[0.5, -0.5, 1.0], [0.1, 0.2, -1.0]])
    assert TOOL.held(last).tolist() == [[0, 0, 1], [0, 0, -1]]
    assert ARM.held(last[:, :2]).tolist() == last[:, :2].tolist()
    assert last[0, 0] == 0.5, "what was given is not changed"


def test_the_gripper_of_displacements_does_not_change_the_smoothness():
    commands = np.concatenate([wave(), np.zeros((STEPS, 1))], axis=1)
    grasp = commands.copy()
    grasp[15:, 2] = 1.0
    one, other = (
        episode_metrics(replace(record(commands=each), spec=TOOL, scale=np.ones(3))) for each in (commands, grasp)
    )
    for name in ("nsparc", "nldlj", "jerk_command"):
        assert one[name] == other[name]


def test_hesitation_is_the_share_of_slow_steps():
    measured = np.concatenate([np.arange(0, 7.0), np.full(3, 6.0)])[:, None] * DT  # 6 steps at 1 / s, 3 at rest
    assert hesitation(measured, DT, cruise_speed=1.0) == pytest.approx(3 / 9)
    assert hesitation(measured, DT, cruise_speed=11.0) == 1
    assert math.isnan(hesitation(measured, DT, cruise_speed=0.0))
    assert math.isnan(hesitation(measured, DT, cruise_speed=math.nan))
    assert math.isnan(hesitation(measured[:1], DT, cruise_speed=1.0))


def test_hesitation_ends_with_completion():
    """15 steps at 1 / s, a pause of 5 whose last step completes the task, 19 at 1 / s and one at rest."""
    steps = np.concatenate([np.ones(15), np.zeros(5), np.ones(19), np.zeros(1)])
    measured = np.concatenate([[0.0], np.cumsum(steps)])[:, None] * DT
    done = replace(record(outcome=SUCCESS, done=20), measured=measured)
    assert episode_metrics(done)["hesitation"] == 5 / 20
    assert episode_metrics(done)["stall_time"] == pytest.approx(5 * done.spec.dt)
    assert episode_metrics(replace(done, completion_step=None, outcome=FAILURE))["hesitation"] == 6 / 40


def test_inference_time_is_per_call():
    values = episode_metrics(record())
    assert (values["inference_calls"], values["inference_time"]) == (4, pytest.approx(0.05))
    assert math.isnan(episode_metrics(replace(record(), inference_calls=0))["inference_time"])


def demonstrations(*, speed: float = 2.0, lengths: tuple[int, ...] = (20, 30)) -> Episodes:
    """Straight lines from 0: the joints at (3, 4) / 5 of the speed, commands equal to the joints."""
    joints = np.concatenate([np.arange(n)[:, None] * DT * speed * np.array([0.6, 0.8]) for n in lengths])
    return Episodes(
        observation=np.concatenate([joints, np.zeros((len(joints), 1))], axis=1).astype(np.float32),
        action=joints.astype(np.float32),
        ends=np.cumsum(lengths),
        dt=DT,
        observation_names=ARM.observation_names,
        action_names=ARM.action_names,
        state_of_action=(0, 1),
        source="test",
    )


def test_cruise_speed_is_the_measured_speed_within_episodes():
    assert cruise_speed(demonstrations(speed=2.0), ARM) == pytest.approx(2.0, rel=1e-4)


def test_cruise_speed_is_undefined_when_the_pose_is_not_observed():
    spec = replace(ARM, pose_names=("joint 0 [rad]", "tool [m]"))
    assert math.isnan(cruise_speed(demonstrations(), spec))
    values = demonstration_metrics(demonstrations(), spec)
    assert math.isnan(values["hesitation"])
    assert math.isnan(values["jerk_measured"])


def test_metrics_of_steady_demonstrations():
    values = demonstration_metrics(demonstrations(), ARM)
    assert set(values) <= set(METRICS)
    assert values["jerk_command_step"] == pytest.approx(0, abs=1e-5)
    assert values["hesitation"] == 0


def test_metrics_of_demonstrations_are_means_over_episodes():
    rng = np.random.default_rng(0)
    episodes = replace(demonstrations(), action=rng.normal(size=(50, 2)).astype(np.float32))
    paths = [part / action_scale(episodes) for part in (episodes.action[:20], episodes.action[20:])]
    values = demonstration_metrics(episodes, ARM)
    assert values["jerk_command"] == pytest.approx(np.mean([np.mean(jerk(path, DT)) for path in paths]))
    assert values["nsparc"] == pytest.approx(np.mean([nsparc(speed(path, DT), DT) for path in paths]))


def test_demonstrations_are_clipped_as_a_rollout_is():
    narrow = replace(ARM, action_low=np.full(2, -0.5, np.float32), action_high=np.full(2, 0.5, np.float32))
    wild = replace(demonstrations(), action=np.tile([[3.0, -3.0], [7.0, -7.0]], (25, 1)).astype(np.float32))
    assert demonstration_metrics(wild, ARM)["jerk_command"] > 0
    assert demonstration_metrics(wild, narrow)["jerk_command"] == 0


def test_seams_and_paths_of_angles_are_those_of_the_motion():
    turned = replace(
        ARM, action_low=np.full(2, -np.pi, np.float32), action_high=np.full(2, np.pi, np.float32),
        action_kinds=Dimensions.of("angle", "angle"),
    )  # fmt: skip
    steady = np.stack([2.5 + 0.02 * np.arange(60), -2.5 - 0.03 * np.arange(60)], axis=1)
    wrapped = (steady + np.pi) % (2 * np.pi) - np.pi
    scale = np.ones(2)
    path = commanded_path(wrapped, scale, turned)
    np.testing.assert_allclose(np.diff(path, axis=0), np.diff(steady, axis=0), atol=1e-9)
    seam = Seam(33, 30, wrapped[30:40], wrapped[30:50] + 2 * np.pi)
    assert overlap_rmse(seam, scale, 0, turned.kinds) == pytest.approx(0, abs=1e-9)
    for step in range(2, 58):
        assert seam_jump(wrapped, step, scale, turned.kinds) == pytest.approx(0, abs=1e-9)


def test_a_base_and_an_arm_have_one_path():
    mobile = replace(ARM, action_kinds=Dimensions.of("linear", "velocity"))
    path = commanded_path(np.tile([0.5, 0.3], (4, 1)), np.ones(2), mobile)
    np.testing.assert_allclose(path, np.stack([np.full(4, 0.5), 0.3 * DT * np.arange(1, 5)], axis=1))
