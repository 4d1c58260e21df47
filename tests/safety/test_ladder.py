"""The safety ladder: tables of events, and invariants over random faults."""

from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fakes.limit_oracle import assert_inside, at_rest, moving, names, random_limits, wild
from segue.core.dimensions import Dimensions
from segue.errors import SpecError
from segue.safety.joint import Limit
from segue.safety.ladder import WELL, Cause, Command, Health, Ladder, State
from segue.safety.limits import JointLimits

DT = 0.02
LIMITS = JointLimits.uniform(
    names(2), [-1.0, -1.0], [1.0, 1.0], unit="rad", velocity=2.0, acceleration=10.0, jerk=200.0
)
EVENTS = {
    "lost": Health(policy_lost=True),
    "stale": Health(state_stale=True),
    "error": Health(robot_error=True),
    "stop": Health(stop=True),
    "resume": Health(resume=True),
    "acknowledge": Health(acknowledge=True),
}


def script(text: str) -> list[tuple[str, Health]]:
    """``a`` is a step with an action, ``x`` with one that is refused, ``.`` without one.

    ``a:stop`` adds an event, ``10*a`` repeats.
    """
    steps: list[tuple[str, Health]] = []
    for word in text.split():
        count, _, rest = word.rpartition("*")
        what, _, event = rest.partition(":")
        steps += [(what, EVENTS[event] if event else WELL)] * int(count or 1)
    return steps


def play(text: str) -> list[Command]:
    """Actions swing, so that the robot moves all the time."""
    ladder, commands = Ladder(LIMITS, DT, [0.0, 0.0]), []
    for tick, (what, health) in enumerate(script(text)):
        wanted = 0.3 * np.sin(1.5 * DT * tick + np.array([0.0, 2.0])) - np.array([0.0, 0.3 * np.sin(2.0)])
        action = {"a": wanted.astype(np.float32), "x": np.array([nan, 0.0]), ".": None}[what]
        commands.append(ladder.step(action, health))
    return commands


def transitions(commands: list[Command]) -> list[str]:
    return [f"{each.transition.after.value}: {each.cause.value}" for each in commands if each.transition]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5*.", []),
        ("5*. 20*a", ["run: actions"]),
        # nothing moves before fresh chunks can be expected
        ("5*a:lost 20*a", ["run: actions"]),
        ("20*a 5*a:lost 5*a", ["run", "degraded: policy lost", "run"]),
        # one gap, one stop, however long it is
        ("20*a 1*. 20*a", ["run", "stopping: no action is due", "run"]),
        ("20*a 300*.", ["run", "stopping: no action is due", "hold: no action is due"]),
        ("20*a 5*a:lost 300*.:lost", ["run", "degraded", "stopping: no action is due", "hold"]),
        ("20*a 300*. 20*a", ["run", "stopping", "hold", "run: actions"]),
        # what began a stop is its cause until the robot is at rest
        ("20*a x 300*.", ["run", "stopping: an action of wrong shape", "hold: an action of wrong shape"]),
        ("20*a . x 300*.", ["run", "stopping: no action is due", "hold: an action of wrong shape"]),
        # with the policy lost again, the rest of a chunk does not start a motion
        ("20*a 300*. 20*a:lost", ["run", "stopping", "hold"]),
        # an operator's stop stays, until the operator resumes it
        ("20*a a:stop 300*a", ["run", "stopping: stopped by the operator", "hold: stopped by the operator"]),
        ("20*a a:stop 3*a a:resume 300*a", ["run", "stopping", "hold"]),
        ("20*a a:stop 300*a a:resume 9*a", ["run", "stopping", "hold", "run"]),
        ("20*a a:stop 300*. .:resume 9*. 9*a", ["run", "stopping", "hold", "run"]),
        ("5*. .:stop 9*a a:resume 9*a", ["run"]),
        # a robot that cannot be relied on is stopped, and waits for somebody who knows why
        ("20*a a:error 300*a", ["run", "stopping: the robot reports an error", "fault: the robot reports an error"]),
        ("20*a a:stale 300*a", ["run", "stopping: the measured state is stale", "fault: the measured state is stale"]),
        ("20*a 300*a:error a:resume 9*a", ["run", "stopping", "fault"]),
        ("20*a 300*a:error a:acknowledge 9*a", ["run", "stopping", "fault", "hold: a fault was acknowledged"]),
        ("20*a 300*a:error a:acknowledge a:resume 9*a", ["run", "stopping", "fault", "hold", "run"]),
        ("9*. .:error 9*a", ["fault: the robot reports an error"]),
        # the graver cause replaces the other one
        ("20*a 2*. .:stop 300*a", ["run", "stopping: no action is due", "hold: stopped by the operator"]),
        ("20*a a:stop a:error 300*a", ["run", "stopping", "fault: the robot reports an error"]),
    ],
)
def test_the_way_up_and_down(text: str, expected: list[str]) -> None:
    found = transitions(play(text))
    assert len(found) == len(expected), found
    assert all(one.startswith(other) for one, other in zip(found, expected, strict=True)), found


def test_a_fault_is_not_acknowledged_away_while_it_lasts() -> None:
    ladder = Ladder(LIMITS, DT, [0.0, 0.0])
    for health in (Health(robot_error=True), Health(robot_error=True, acknowledge=True), Health(resume=True)):
        assert ladder.step(None, health).state is State.FAULT
    assert ladder.step(None, Health(acknowledge=True)).state is State.HOLD


BAD = [
    np.array([0.1, nan]), np.array([inf, 0.1]), np.array([-inf, 0.1], np.float32), np.zeros(3), np.zeros((1, 2)),
    np.zeros(0), np.array(0.0), np.array(["0.1", "0.1"]), np.array([0.1, None], object),
    np.zeros(2, complex), np.zeros(2, bool),
    [0.1, 0.1], "ab", 0.1,
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_what_is_no_action_is_not_let_in(bad: NDArray) -> None:
    """The robot does what it does without an action, and the command says why."""
    ladder, other = Ladder(LIMITS, DT, [0.0, 0.0]), Ladder(LIMITS, DT, [0.0, 0.0])
    assert ladder.step(bad).refused
    other.step(None)
    for tick in range(20):
        action = np.array([0.01, -0.01]) * tick
        assert np.array_equal(ladder.step(action).values, other.step(action).values)
    refused, without = ladder.step(bad), other.step(None)
    assert refused.refused
    assert refused.cause is Cause.REFUSED
    assert (refused.state, without.state) == (State.STOPPING, State.STOPPING)
    assert np.array_equal(refused.values, without.values)
    assert not without.refused


def test_an_action_within_the_limits_is_sent_to_the_bit() -> None:
    ladder = Ladder(LIMITS, DT, [0.0, 0.0])
    for tick in range(100):
        action = (0.3 * (1 - np.cos(0.02 * tick)) * np.array([1.0, -1.0])).astype(np.float32)
        command = ladder.step(action)
        assert command.values.tolist() == action.tolist()
        assert command.saturated == ()
    assert ladder.step(np.array([5.0, 0.0])).saturated[0].limit is Limit.POSITION


def test_a_pose_is_taken_over_at_rest_only() -> None:
    ladder = Ladder(LIMITS, DT, [0.0, 0.0])
    for tick in range(20):
        ladder.step(np.array([0.01, 0.0]) * tick)
    with pytest.raises(SpecError, match="in state run"):
        ladder.rebase([0.0, 0.0])
    for _ in range(100):
        ladder.step(None)
    assert ladder.state is State.HOLD
    with pytest.raises(SpecError, match="3 values"):
        ladder.rebase([0.0, 0.0, 0.0])
    ladder.rebase([-0.4, 0.2])
    assert ladder.step(None).values.tolist() == [-0.4, 0.2]
    first = ladder.step(np.array([0.9, 0.9])).values
    largest = 200.0 * DT**3
    assert np.abs(first - [-0.4, 0.2]).max() <= largest * (1 + 1e-9)


def test_displacements_start_and_go_on_at_zero() -> None:
    limits = replace(LIMITS, kinds=Dimensions.of("displacement", "linear"))
    ladder = Ladder(limits, DT, [0.7, 0.7])
    assert ladder.step(None).values.tolist() == [0.0, 0.7]
    ladder.rebase([0.2, -0.5])
    command = ladder.step(None)
    assert (command.values.tolist(), command.state) == ([0.0, -0.5], State.HOLD)


@dataclass
class Faults:
    """A schedule of conditions, each of which comes and goes at random."""

    rng: np.random.Generator
    lost: bool = False
    starved: bool = False
    broken: bool = False

    def health(self) -> Health:
        rng = self.rng.random(8)
        self.lost ^= rng[0] < 0.03
        self.starved ^= rng[1] < (0.1 if self.starved else 0.03)
        self.broken = rng[2] < (0.5 if self.broken else 0.003)
        return Health(
            policy_lost=self.lost,
            state_stale=self.broken and rng[3] < 0.5,
            robot_error=self.broken,
            stop=bool(rng[4] < 0.003),
            acknowledge=bool(rng[5] < 0.05),
            resume=bool(rng[6] < 0.05),
        )

    def action(self, wanted: list[float]) -> NDArray | None:
        if self.starved:
            return None
        action = np.array(wanted)
        kind = self.rng.random()
        if kind < 0.01:
            action[self.rng.integers(len(action))] = self.rng.choice([nan, inf, -inf])
        return action[:-1] if kind > 0.995 else action


def assert_safe(seed: int, joints: int, ticks: int) -> None:
    """One command per tick, inside of all limits; rest before HOLD and FAULT; one STOPPING per gap."""
    rng = np.random.default_rng(seed)
    limits, dt = random_limits(rng, joints)
    ends = np.array([limits.low, limits.high])
    before = at_rest(ends[0] + rng.choice([0.0, 0.5, 1.0], joints) * (ends[1] - ends[0]), limits)
    ladder, faults = Ladder(limits, dt, before[0].tolist()), Faults(rng)
    commands, healths, given = [], [], []
    for wanted in wild(rng, limits, dt, ticks):
        healths.append(faults.health())
        given.append(faults.action(wanted))
        commands.append(ladder.step(given[-1], healths[-1]))
    assert [each.tick for each in commands] == list(range(len(commands)))
    values = np.array([each.values for each in commands])
    assert_inside(values, limits, dt, before)
    moved = np.array([each.state in (State.RUN, State.DEGRADED) for each in commands])
    rests = np.array([each.state in (State.HOLD, State.FAULT) for each in commands])
    same = (np.diff(values, axis=0, prepend=before[-1:]) == 0) | (moving(limits) & (values == 0))
    assert same[rests].all(), "zero velocity in HOLD and FAULT"
    assert same[np.flatnonzero(rests[1:] & ~rests[:-1])].all(), "and in the step before"
    usable = np.array([each is not None and each.shape == (joints,) and np.isfinite(each).all() for each in given])
    assert not (moved & ~usable).any()
    assert (
        np.array([each.refused for each in commands])
        == [u is not None and not ok for u, ok in zip(given, usable, strict=True)]
    ).all()
    assert not any(moved & [each.robot_error or each.state_stale or each.stop for each in healths])
    state, gap_stops = State.HOLD, 0
    for each, ok in zip(commands, usable, strict=True):
        assert (each.transition is not None) == (each.state is not state)
        if each.transition:
            assert (each.transition.tick, each.transition.before, each.transition.after) == (
                each.tick,
                state,
                each.state,
            )
        gap_stops = 0 if ok else gap_stops + (each.state is State.STOPPING and state is not State.STOPPING)
        assert gap_stops <= 1
        assert not (state is State.FAULT and each.state not in (State.FAULT, State.HOLD))
        state = each.state


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_random_faults(seed: int) -> None:
    assert_safe(seed, joints=2, ticks=200)


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(3, 10))])
def test_a_hundred_thousand_ticks_with_faults(seed: int) -> None:
    assert_safe(seed, joints=2, ticks=10_000)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_more_ticks_with_faults(seed: int) -> None:
    assert_safe(1000 + seed, joints=7, ticks=10_000)
