"""What the limiter and the ladder make of dimensions of every kind."""

from dataclasses import replace
from math import inf, pi

import numpy as np
import pytest

from segue.core.dimensions import LINEAR, Dimensions
from segue.errors import SpecError
from segue.safety.ladder import Health, Ladder, State
from segue.safety.limiter import Limiter
from segue.safety.limits import UNLIMITED, JointLimits, Unit

DT = 0.02
TICKS, ALL_TICKS = 4_000, 1_000_000
KINDS = Dimensions.of("linear", "angle", "angle:360", "velocity", "displacement", "binary", "gripper")
ROBOT = JointLimits(
    names=("elbow", "wrist", "table", "base", "slide", "vacuum", "hand"),
    units=("rad", "rad", "deg", "m", "m", "1", "1"),
    low=(-1.0, -pi, -inf, -0.5, -0.01, 0.0, -1.0),
    high=(1.0, pi, inf, 0.5, 0.01, 1.0, 1.0),
    velocity=(2.0, 2.0, 90.0, UNLIMITED, 0.4, 1.0, 3.0),
    acceleration=(20.0, 20.0, 900.0, 1.0, 10.0, 1.0, UNLIMITED),
    jerk=(500.0, 500.0, 20_000.0, 20.0, 400.0, 1.0, UNLIMITED),
    kinds=KINDS,
)


def wrist(
    low: float = -pi, high: float = pi, period: float = 2 * pi, unit: Unit = "rad", per: float = 1.0
) -> JointLimits:
    return JointLimits(
        ("wrist",),
        (unit,),
        (low,),
        (high,),
        (2.0 * per,),
        (20.0 * per,),
        (500.0 * per,),
        Dimensions.of(f"angle:{period}"),  # type: ignore[arg-type]
    )


def turned(limits: JointLimits, wanted: np.ndarray, start: float) -> np.ndarray:
    """Commands of one joint, then 100 more steps of the last wanted one."""
    ladder = Ladder(limits, DT, [start])
    return np.array([ladder.step(np.array([each])).values for each in [*wanted, *[wanted[-1]] * 100]])


@pytest.mark.parametrize(("low", "high"), [(-pi, pi), (-UNLIMITED, UNLIMITED), (0.0, 2 * pi)])
@pytest.mark.parametrize("way", [1, -1])
def test_a_joint_goes_on_through_the_seam_the_shorter_way_round(low: float, high: float, way: int) -> None:
    true = way * (3.0 + 0.01 * np.arange(60))
    limits = wrist(low, high)
    sent = turned(limits, (true + pi) % (2 * pi) - pi, true[0])
    assert ((sent >= low) & (sent <= high)).all()
    path = limits.kinds.continuous(sent, np.array([true[0]]))[:, 0]
    assert np.abs(np.diff(path)).sum() == pytest.approx(0.59, abs=0.02)  # it stops as fast as it may
    assert path[-1] == pytest.approx(true[-1])


def test_degrees_are_turned_as_radians_are() -> None:
    true = np.deg2rad(170) + 0.01 * np.arange(60)
    wanted, per = (true + pi) % (2 * pi) - pi, 180 / pi
    radians = turned(wrist(), wanted, wanted[0])
    degrees = turned(wrist(-180.0, 180.0, 360.0, "deg", per), wanted * per, wanted[0] * per)
    np.testing.assert_allclose(degrees, radians * per, atol=1e-9)


def test_an_angle_that_is_far_away_is_reached_at_the_limits_and_stays_there() -> None:
    limits = wrist()
    sent = turned(limits, np.full(100, -2.5), 2.5)
    path = limits.kinds.continuous(sent)[:, 0]
    assert path[-1] == pytest.approx(2 * pi - 2.5)
    assert np.diff(path).max() <= 2.0 * DT * (1 + 1e-9)
    assert np.diff(path).min() >= -1e-12


def test_limits_may_say_that_a_joint_has_no_end_stops_and_only_an_angle_may() -> None:
    for low, high in ((-inf, inf), (-pi, pi), (0, 2 * pi), (float(np.float32(-pi)), float(np.float32(pi)))):
        wrist(low, high)
    for low, high in ((-2.0, 2.0), (-inf, pi), (-4 * pi, 4 * pi), (pi, -pi)):
        with pytest.raises(SpecError, match="no end stops"):
            wrist(low, high)
    with pytest.raises(SpecError, match="declare an angle"):
        replace(wrist(), kinds=LINEAR, low=(-inf,), high=(inf,))
    replace(wrist(), kinds=LINEAR, low=(-20.0,), high=(20.0,))  # three turns, and end stops
    with pytest.raises(SpecError, match="degrees"):
        replace(wrist(), kinds=LINEAR, low=(-180.0,), high=(180.0,))


@pytest.mark.parametrize("kind", ["velocity", "displacement"])
def test_a_hold_ends_what_moves_the_base_and_the_arm_keeps_its_position(kind: str) -> None:
    limits = JointLimits(
        ("shoulder", "base"), ("rad", "m"), (-2.0, -0.3), (2.0, 0.3), (inf, inf), (inf, inf), (inf, inf),
        Dimensions.of("linear", kind),
    )  # fmt: skip
    ladder = Ladder(limits, DT, [0.5, 0.0])
    for _ in range(2):
        assert ladder.step(np.array([0.5, 0.3])).values.tolist() == [0.5, 0.3]
    held = [ladder.step(None) for _ in range(3)]
    assert [each.values.tolist() for each in held] == [[0.5, 0.0]] * 3
    assert held[-1].state is State.HOLD
    assert not Ladder(limits, DT, [0.5, 0.3]).limiter.values[1], "a measured speed is not gone on with"


def test_a_velocity_is_limited_per_second_as_it_is_said() -> None:
    limiter = Limiter(replace(ROBOT, kinds=KINDS), DT, [0.0] * 7)
    base = np.array([limiter.step([0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0])[3] for _ in range(200)])
    change = np.diff(base, prepend=0.0)
    assert base[-1] == 0.5
    assert change.max() == pytest.approx(1.0 * DT)
    assert np.abs(np.diff(change, prepend=0.0)).max() <= 20.0 * DT**2 * (1 + 1e-9)


def test_nothing_lies_between_two_values_and_a_nonsense_value_is_refused() -> None:
    limiter = Limiter(ROBOT, DT, [0.0] * 7)
    got = [limiter.step([0.0, 0.0, 0.0, 0.0, 0.0, wanted, 0.0])[5] for wanted in (0.2, 0.7, 0.5, 9.0, 0.4, -3.0)]
    assert got == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert limiter.saturated == ()
    assert [Limiter(ROBOT, DT, [0.0] * 5 + [start, 0.0]).values[5] for start in (0.2, 0.9)] == [0.0, 1.0]
    for nonsense in (np.nan, inf):
        for index in (1, 5):
            with pytest.raises(SpecError, match=r"is (nan|inf)"):
                limiter.step([nonsense if i == index else 0.0 for i in range(7)])
    assert limiter.at_rest


def test_the_other_sign_of_a_quaternion_turns_nothing() -> None:
    n = 4
    limits = JointLimits.uniform(
        tuple("wxyz"), [-1] * n, [1] * n, unit="1", velocity=1, acceleration=10, jerk=200,
        kinds=Dimensions.of(*["quaternion"] * n),
    )  # fmt: skip
    limiter = Limiter(limits, DT, [1.0, 0.0, 0.0, 0.0])
    for _ in range(3):
        np.testing.assert_array_equal(limiter.step([-1.0, 0.0, 0.0, 0.0]), [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("ticks", "seed"),
    [(TICKS, 3), *(pytest.param(ALL_TICKS // 10, seed, marks=pytest.mark.faults) for seed in range(10))],
)
def test_no_command_is_out_of_limits_or_against_its_kind(ticks: int, seed: int) -> None:
    """A million ticks in all."""
    rng, n = np.random.default_rng(seed), len(ROBOT.names)
    ladder = Ladder(ROBOT, DT, [0.0] * n)
    commands, wanted, stopped = np.zeros((ticks, n)), np.zeros(n), 0
    moves, keeps = list(KINDS.moves), [i for i in range(n) if i not in KINDS.moves]
    span = np.array([1.0, 2 * pi, 360.0, 0.5, 0.01, 1.0, 1.0])
    left, drift = 0, np.zeros(n)
    for tick in range(ticks):
        if not left:
            left, drift = int(rng.integers(1, 60)), rng.normal(size=n) * span * 10 ** rng.uniform(-4, 0)
            wanted = rng.uniform(-1.5, 1.5, n) * span
        left, wanted, stopped = left - 1, wanted + drift, stopped - 1 if stopped else int(rng.random() < 0.01) * 150
        before, last = ladder.state, ladder.limiter.values
        command = ladder.step(None if stopped else wanted, Health(resume=True))
        if command.state is State.HOLD and before is State.HOLD:
            assert not command.values[moves].any()
            assert (command.values[keeps] == last[keeps]).all()
        commands[tick] = command.values
    low, high = np.array(ROBOT.low), np.array(ROBOT.high)
    assert ((commands >= low) & (commands <= high)).all()
    assert set(commands[:, KINDS.named("binary")[0]]) == {0.0, 1.0}
    path = np.concatenate([np.zeros((3, n)), KINDS.continuous(commands)])
    for index, each in enumerate(KINDS.kinds):
        if each.name == "binary":
            continue
        rounding = 8 * np.spacing(max(np.abs(path[:, index]).max(), each.period))
        for order, limit in enumerate((ROBOT.velocity, ROBOT.acceleration, ROBOT.jerk), start=1):
            power = order - 1 if each.name == "velocity" else order
            moved = np.diff(path[:, index], order - (index in moves))
            assert np.abs(moved).max() <= limit[index] * DT**power * (1 + 1e-9) + rounding, (ROBOT.names[index], order)
