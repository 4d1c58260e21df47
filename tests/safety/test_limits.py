"""Joint limits and the limiter, judged by the commands alone."""

from dataclasses import replace
from math import cos, inf, nan, pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.limit_oracle import assert_inside, at_rest, excess, moving, names, random_limits, wild
from segue.core.dimensions import Dimensions, Kind
from segue.errors import SpecError
from segue.safety.joint import Limit
from segue.safety.limiter import Limiter, Saturation
from segue.safety.limits import UNLIMITED, JointLimits

DT = 0.02


def kinds_of(joints: int, displacement: bool) -> Dimensions:
    return Dimensions((Kind("displacement" if displacement else "linear"),) * joints)


def limits_of(joints: int = 1, displacement: bool = False, **changed: float) -> JointLimits:
    speeds = {"velocity": 2.0, "acceleration": 10.0, "jerk": 200.0} | changed
    return JointLimits.uniform(
        names(joints), [-1.0] * joints, [1.0] * joints, unit="rad", kinds=kinds_of(joints, displacement), **speeds
    )


def run(limiter: Limiter, wanted: list[list[float]]) -> np.ndarray:
    return np.array([limiter.step(each) for each in wanted])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("low", (-1.0, 2.0), "range .2.0, 1.0. rad of joint 'joint 1'"),
        ("low", (nan, -1.0), "joint 'joint 0'"),
        ("high", (1.0, inf), "joint 'joint 1'"),
        ("high", (1.0,), "1 values of high"),
        ("velocity", (0.0, 1.0), "velocity limit 0.0 of joint 'joint 0'"),
        ("velocity", (1.0, 180.0), "looks like degrees"),
        ("acceleration", (1.0, -1.0), "acceleration limit -1.0 of joint 'joint 1'"),
        ("jerk", (nan, 1.0), "jerk limit nan of joint 'joint 0'"),
        ("jerk", (1.0, 1.0, 1.0), "3 values of jerk"),
        ("high", (1.0, 90.0), "joint 'joint 1' reaches 90 rad(.|\n)*degrees"),
        ("low", (-500.0, -1.0), "looks like degrees"),
        ("units", ("rad", "grad"), "joint 'joint 1' in 'grad'"),
        ("names", ("joint 0", "joint 0"), "none twice"),
        ("kinds", Dimensions.of("velocity"), "1 joint kinds"),
    ],
)
def test_fault_27_limits_that_make_no_sense_are_refused(field: str, value: tuple, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(limits_of(2), **{field: value})


def test_more_limits_that_make_no_sense() -> None:
    with pytest.raises(SpecError, match="looks like millimetres"):
        replace(limits_of(), units=("m",), high=(300.0,))
    with pytest.raises(SpecError, match="zero inside"):
        replace(limits_of(displacement=True), low=(0.5,))
    with pytest.raises(SpecError, match="none twice"):
        limits_of(0)
    with pytest.raises(SpecError, match="double precision"):
        Limiter(limits_of(jerk=1e-6), 1e-3, [0.0])
    with pytest.raises(SpecError, match="control period"):
        Limiter(limits_of(), 0.0, [0.0])
    assert replace(limits_of(), units=("1",), high=(300.0,)).high == (300.0,)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_no_command_is_ever_outside_of_a_limit(seed: int) -> None:
    """From rest anywhere, stops mixed in."""
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints=3)
    share = rng.choice([0.0, rng.random(), 1.0], 3)
    start = np.clip((1 - share) * limits.low + share * np.array(limits.high), limits.low, limits.high)
    before = at_rest(start, limits)
    limiter = Limiter(limits, dt, before[0].tolist())
    commands = []
    for wanted in wild(rng, limits, dt, 120):
        stops = rng.random() < 0.1
        commands.append(limiter.stop() if stops else limiter.step(wanted))
    assert_inside(np.array(commands), limits, dt, before)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_moving_start_is_continued(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints=3, displacements=0.0)
    start = rng.uniform(limits.low, limits.high)
    limiter = Limiter(limits, dt, start.tolist())
    measured = rng.uniform(-1, 1, 3) * np.minimum(limits.velocity, 20.0)
    limiter.restart(start.tolist(), measured.tolist())
    taken = limiter._joints
    speed = np.array([joint.stoppable(p, v * dt) for joint, p, v in zip(taken, start, measured, strict=True)])
    assert (np.abs(speed) <= np.abs(measured * dt)).all()
    assert (speed * measured >= 0).all()
    before = start + np.arange(-2, 1)[:, None] * speed
    assert_inside(run(limiter, list(wild(rng, limits, dt, 60))), limits, dt, before)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_look_at_all_joints_at_once_changes_nothing(seed: int) -> None:
    """The same commands, to the bit, from a limiter that looks at each joint alone in every step."""
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints=4)
    start = at_rest(rng.uniform(limits.low, limits.high), limits)[0].tolist()
    both, alone = Limiter(limits, dt, start), Limiter(limits, dt, start)
    alone._least[:] = inf
    for wanted in wild(rng, limits, dt, 100):
        stops = rng.random() < 0.05
        commands = [each.stop() if stops else each.step(wanted) for each in (both, alone)]
        assert commands[0].tolist() == commands[1].tolist()
        assert both.saturated == alone.saturated
        assert both.at_rest == alone.at_rest


def test_most_steps_need_a_look_at_all_joints_at_once_only() -> None:
    """Otherwise the test above would say little: one joint swings, the other rests."""
    limiter = Limiter(limits_of(2), DT, [0.0, 0.0])
    follow, looked = limiter._follow, list[int]()
    limiter._follow = lambda: (looked.append(tick), follow())[1]
    for tick in range(300):
        limiter.step([0.3 * (1 - cos(tick * DT)), 0.0])
    assert looked[0] == 0, "from rest"
    assert len(looked) < 30


def hundred_thousand(seed: int, joints: int, ticks: int) -> None:
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints)
    before = at_rest(rng.uniform(limits.low, limits.high), limits)
    limiter = Limiter(limits, dt, before[0].tolist())
    assert_inside(run(limiter, list(wild(rng, limits, dt, ticks))), limits, dt, before)


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_thousand_commands(seed: int) -> None:
    hundred_thousand(seed, joints=10, ticks=1000)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_two_million_commands(seed: int) -> None:
    hundred_thousand(1000 + seed, joints=10, ticks=10_000)


@pytest.mark.parametrize("displacement", [False, True])
def test_what_keeps_to_the_limits_passes_unchanged(displacement: bool) -> None:
    """Swings with half of what is allowed, up to close to the ends of the range; from rest at their turning point."""
    limits = limits_of(2, displacement, acceleration=10.0, jerk=200.0)
    peak = 0.001 if displacement else 0.9
    rate = 0.05 if displacement else 1.5
    swing = [[peak * sin(rate * tick * DT - pi / 2), 0.3 * peak * sin(rate * tick * DT)] for tick in range(500)]
    begin = [np.array(swing[0]) * (3 * t**2 - 2 * t**3) for t in np.linspace(0, 1, 200)]
    wanted = [each.tolist() for each in begin] + [swing[0]] * 5
    limiter = Limiter(limits, DT, [0.0, 0.0])
    assert run(limiter, wanted).tolist() == wanted
    first = [[each[0], 0.3 * peak * sin(0)] for each in swing]
    assert run(limiter, first).tolist() == first
    assert limiter.saturated == ()
    assert not limiter.at_rest


def test_a_jump_is_followed_in_the_least_time_and_not_overshot() -> None:
    """From rest to rest a joint needs D/V + V/A + A/J at least, if it reaches V and A on the way; up to some steps."""
    limits = limits_of(velocity=1.0, acceleration=10.0, jerk=200.0)
    limiter = Limiter(limits, DT, [-0.8])
    commands = run(limiter, [[0.8]] * 120)[:, 0]
    assert commands.max() == 0.8
    assert (np.diff(commands) >= 0).all()
    arrived = int(np.argmax(commands == 0.8)) + 1
    least = (1.6 / 1.0 + 1.0 / 10.0 + 10.0 / 200.0) / DT
    assert abs(arrived - least) <= 3
    assert limiter.at_rest


def test_the_end_of_the_range_is_reached_and_not_passed() -> None:
    limiter = Limiter(limits_of(), DT, [0.0])
    commands = run(limiter, [[40.0]] * 200)[:, 0]
    assert commands.max() == commands[-1] == 1.0
    assert limiter.saturated == (Saturation("joint 0", Limit.POSITION),)
    assert run(limiter, [[0.999999]])[0, 0] < 1.0, "and left again"


def test_what_moves_is_caught_up_with() -> None:
    """After a jump the commands are the wanted actions again, to the bit, without swinging around them."""
    limiter = Limiter(limits_of(), DT, [-0.5])
    wanted = [[0.4 + 0.3 * sin(1.2 * tick * DT)] for tick in range(200)]
    commands = run(limiter, wanted)
    late = (commands != np.array(wanted))[:, 0]
    assert late[0]
    assert not late[60:].any()
    assert np.count_nonzero(np.diff(np.sign(np.array(wanted) - commands)[:, 0])) <= 2


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_stop_ends_at_rest_inside_of_the_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints=2)
    before = at_rest(rng.uniform(limits.low, limits.high), limits)
    limiter = Limiter(limits, dt, before[0].tolist())
    commands = run(limiter, list(wild(rng, limits, dt, 40))).tolist()
    for _ in range(200_000):
        if limiter.at_rest:
            break
        commands.append(limiter.stop())
    assert limiter.at_rest
    assert_inside(np.array(commands), limits, dt, before)
    moves = moving(limits)
    assert (limiter.values[moves] == 0).all()
    assert limiter.stop().tolist() == np.asarray(commands[-1]).tolist() if len(commands) > 40 else True


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_every_joint_arrives_exactly_where_it_is_wanted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints=1)
    limiter = Limiter(limits, dt, at_rest(rng.uniform(limits.low, limits.high), limits)[0].tolist())
    run(limiter, list(wild(rng, limits, dt, 20)))
    joint = limiter._joints[0]
    target = float(rng.uniform(*joint.range))
    span = 0.0 if joint.moves else (joint.high - joint.low) / joint.ceiling
    most = 4 * (span + (joint.ceiling - joint.floor) / joint.acceleration + joint.most + 10)
    for _ in range(int(min(most, 20_000))):
        limiter.step([target])
    if most < 20_000:
        assert limiter.values.tolist() == [target]


def test_a_displacement_stops_at_zero_and_a_gripper_stays() -> None:
    limits = JointLimits(
        names=("x", "gripper"), units=("m", "1"), low=(-0.01, -1.0), high=(0.01, 1.0), velocity=(1.0, UNLIMITED),
        acceleration=(2.0, UNLIMITED), jerk=(50.0, UNLIMITED), kinds=Dimensions.of("displacement", "gripper"),
    )  # fmt: skip
    limiter = Limiter(limits, DT, [0.0, -1.0])
    commands = run(limiter, [[0.01, 1.0]] * 40)
    assert commands[0, 1] == 1.0, "no limit: at once"
    assert commands[-1].tolist() == [0.01, 1.0]
    assert_inside(commands, limits, DT, np.array([[0.0, -1.0]] * 3))
    stop = np.array([limiter.stop() for _ in range(40)])
    assert (np.diff(stop[:, 0]) <= 0).all()
    assert stop[-1].tolist() == [0.0, 1.0]


def test_without_limits_the_range_is_all_that_is_kept() -> None:
    free = limits_of(2, velocity=UNLIMITED, acceleration=UNLIMITED, jerk=UNLIMITED)
    rng = np.random.default_rng(0)
    wanted = rng.uniform(-1.5, 1.5, (200, 2))
    limiter = Limiter(free, DT, [0.0, 0.0])
    assert np.array_equal(run(limiter, wanted.tolist()), np.clip(wanted, -1, 1))


@pytest.mark.parametrize(
    ("wanted", "limit"),
    [(2.0, Limit.POSITION), (0.5, Limit.VELOCITY), (0.03, Limit.ACCELERATION), (0.003, Limit.JERK)],
)
def test_the_limit_that_was_met_is_named(wanted: float, limit: Limit) -> None:
    limiter = Limiter(limits_of(2), DT, [0.0, 0.0])
    limiter.step([0.0, wanted])
    assert limiter.saturated == (Saturation("joint 1", limit),)
    limiter.step([0.0, limiter.values[1]])
    limiter.stop()
    assert limiter.saturated == ()


@pytest.mark.parametrize(("bad", "message"), [([0.0], "1 values"), ([0.0, nan], "joint 1"), ([inf, 0.0], "joint 0")])
def test_numbers_that_are_none_are_refused_and_change_nothing(bad: list[float], message: str) -> None:
    limiter, other = Limiter(limits_of(2), DT, [0.0, 0.0]), Limiter(limits_of(2), DT, [0.0, 0.0])
    for each in (limiter, other):
        each.step([0.001, -0.001])
    with pytest.raises(SpecError, match=message):
        limiter.step(bad)
    with pytest.raises(SpecError, match=message):
        limiter.restart(bad)
    assert limiter.step([0.3, 0.3]).tolist() == other.step([0.3, 0.3]).tolist()


def test_a_start_outside_of_the_range() -> None:
    """One step at the largest speed is 0.04 rad, a hundredth of the range 0.02 rad."""
    assert Limiter(limits_of(), DT, [1.019]).values.tolist() == [1.0]
    assert Limiter(limits_of(), DT / 4, [-1.009]).values.tolist() == [-1.0]
    for dt, beyond in ((DT, 1.03), (DT / 4, 1.019)):
        with pytest.raises(SpecError, match=rf"'joint 0' starts at {beyond}"):
            Limiter(limits_of(), dt, [beyond])
    toward_the_end = Limiter(limits_of(), DT, [1.0])
    toward_the_end.restart([1.0], [2.0])
    assert [toward_the_end.stop().tolist() for _ in range(3)] == [[1.0]] * 3


@pytest.mark.parametrize("start", [2.9, 1.05, -1.021])
def test_no_start_jumps_far_because_the_speed_is_unlimited(start: float) -> None:
    limits = limits_of(velocity=inf)
    with pytest.raises(SpecError, match=r"beyond by no more than 0\.02"):
        Limiter(limits, DT, [start])
    limiter = Limiter(limits, DT, [0.0])
    with pytest.raises(SpecError, match=r"beyond by no more than 0\.02"):
        limiter.restart([start])
    assert limiter.values.tolist() == [0.0]


def test_the_oracle_sees_violations() -> None:
    limits = limits_of()
    for order, size in ((1, 2.0), (2, 10.0), (3, 200.0)):
        commands = np.zeros((30, 1))
        commands[10 + order :, 0] = 1.01 * size * DT**order
        assert excess(commands, limits, DT)[("velocity", "acceleration", "jerk")[order - 1]] > 0.005
    assert excess(np.full((5, 1), 1.001), limits, DT)["position"] > 0


def test_what_was_given_and_returned_may_be_changed() -> None:
    limiter, other = Limiter(limits_of(), DT, [0.0]), Limiter(limits_of(), DT, [0.0])
    for tick in range(20):
        wanted = [0.5 * tick]
        command = limiter.step(wanted)
        assert command.tolist() == other.step([0.5 * tick]).tolist()
        wanted[0] = command[0] = nan


def test_kinds_are_said_in_words_of_kinds() -> None:
    """As the last argument stood whether a joint is a displacement, before there were kinds."""
    with pytest.raises(SpecError, match=r"kinds \(False, True\)(.|\n)*Dimensions\.of"):
        replace(limits_of(2), kinds=(False, True))  # type: ignore[arg-type]


def test_a_jump_to_the_mirrored_position_is_as_far_as_it_is() -> None:
    """From rest at p to -p: the quick look must see the way between them, which is not their sum."""
    limits = limits_of(velocity=1.0, acceleration=50.0, jerk=5000.0)
    for place in (0.5, -0.5):
        limiter = Limiter(limits, 0.01, [place])
        commands = [limiter.step([wanted]) for wanted in [place] * 3 + [-place] * 20]  # first it is where it is wanted
        assert_inside(np.array(commands), limits, 0.01, at_rest(np.array([place]), limits))
        assert 0 < abs(commands[3][0] - place) < 0.01
