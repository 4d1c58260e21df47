"""Whichever way the next episode comes in, nothing of the last one is left in it."""

import signal
from collections.abc import Callable

import numpy as np
import pytest

from fakes.clock_robot_link import DT, HORIZON, LIMITS, Cell, FakeRobot, cell, check_safe, next_to, states
from fakes.linked_policies import PATIENCE, running
from segue.core.chunk import Array
from segue.errors import SpecError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Plan, Request
from segue.runtime.executor import Executor
from segue.runtime.inference import Conversation
from segue.runtime.run import Ending, Tolerance
from segue.runtime.signals import on_signals
from segue.safety.ladder import Health, Ladder
from segue.trace.sink import Sinks


def stay(request: Request, observation: Array) -> Array:
    """Stay where the robot is seen."""
    return np.tile(observation[:2], (HORIZON, 1)).astype(np.float32)


def fresh(at: float = 0.0) -> Ladder:
    return Ladder(LIMITS, DT, [at, at])


def by_new_parts(made: Cell) -> Executor:
    return next_to(made, made.robot)


def by_a_new_executor_around_the_old_plan(made: Cell) -> Executor:
    return next_to(made, made.robot, made.executor.plan)


def by_begin(made: Cell) -> Executor:
    made.executor.begin(fresh(made.robot.at[0]))
    return made.executor


WAYS = [by_new_parts, by_a_new_executor_around_the_old_plan, by_begin]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [3, 40])
def test_the_last_episodes_chunk_is_not_executed(way: Callable[[Cell], Executor], first: int) -> None:
    """The first episode is over while an inference is under way, whose answer comes in the second."""
    made = cell(lambda number: 0.2, stay)
    made.robot.at = np.array([1.0, 1.0])
    made.executor.begin(fresh(1.0))
    made.executor.run(done=lambda: made.executor.counts.ticks >= first)
    assert made.link.due, "under way"
    made.robot.at = np.array([-1.0, -1.0])
    before = len(made.robot.sent)
    executor = way(made)
    assert executor.run(seconds=1.0) is Ending.TIME
    assert np.allclose(made.commands[before:], -1.0)
    taken = [request for request, outcome, _ in made.log.chunks if outcome is Delivery.TAKEN]
    assert taken[-1].epoch == executor.plan.epoch
    names = [(request.epoch, request.number) for request in made.link.requests]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("way", WAYS)
def test_the_policy_forgets_the_last_episode(way: Callable[[Cell], Executor]) -> None:
    """A policy process resets its policy at every epoch that it has not heard of."""
    made = cell()
    made.executor.run(done=lambda: made.executor.counts.ticks >= 20)
    first = {request.epoch for request in made.link.requests}
    way(made).run(seconds=0.2)
    assert len({request.epoch for request in made.link.requests} - first) == 1


def test_epochs_of_a_process_link_are_counted_up() -> None:
    with running("echo") as link:
        link.hello(PATIENCE)
        first, second = (Conversation(Plan(6, 2, 2, WindowQuantile(1)), link, Sinks(), 0.02) for _ in range(2))
        assert (first.plan.epoch, second.plan.epoch) == (0, 1)
        first.reset()
        assert first.plan.epoch == 2
        assert link.spec == link.hello().spec


@pytest.mark.parametrize("how", ["time", "stop", "fault", "abort"])
def test_an_episode_is_as_long_as_the_one_before_however_that_ended(how: str) -> None:
    made = cell()
    made.robot.faults = {("send", n): OSError("bus") for n in range(20, 40)} if how == "fault" else {}
    made.robot.faults |= {("observe", 30): KeyboardInterrupt()} if how == "abort" else {}
    ending = made.executor.run(seconds=1.0, done=made.after(30, made.executor.stop) if how == "stop" else lambda: False)
    assert ending.name == {"time": "TIME", "stop": "STOPPED", "fault": "FAULT", "abort": "ABORTED"}[how]
    made.robot.faults.clear()
    before = made.executor.counts.ticks
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    assert (made.executor.fault, made.executor.kept_paused, made.executor.conversation.said.root_cause) == ("", "", "")
    assert made.executor.run(seconds=1.0) is Ending.TIME
    assert made.executor.counts.ticks - before == pytest.approx(104, abs=2)
    assert states(made)[-4:] == ["HOLD", "RUN", "STOPPING", "HOLD"]


@pytest.mark.parametrize("how", ["time", "stop"])
def test_a_run_that_has_stopped_the_robot_is_not_gone_on_with(how: str) -> None:
    made = cell()
    made.executor.run(seconds=0.5, done=made.after(20, made.executor.stop) if how == "stop" else lambda: False)
    sent = len(made.robot.sent)
    with pytest.raises(SpecError, match="begin"):
        made.executor.run(seconds=0.5)
    assert len(made.robot.sent) == sent


def test_the_reason_of_the_last_fault_is_not_that_of_the_next() -> None:
    made = cell(answer=lambda request, seen: "first words", tolerance=Tolerance(hold=0.5, stall=None))
    assert made.executor.run() is Ending.FAULT
    assert "first words" in made.executor.fault
    made.link.answer = lambda request, seen: "other words"
    made.executor.begin(fresh())
    assert made.executor.run() is Ending.FAULT
    assert "other words" in made.executor.fault
    assert "first" not in made.executor.fault


@pytest.mark.parametrize("ladder", ["used", "of another rate"])
def test_an_episode_needs_a_ladder_of_its_own(ladder: str) -> None:
    """One that an operator has stopped would let nothing move again; another period would be another speed."""
    made = cell()
    wrong = fresh() if ladder == "used" else Ladder(LIMITS, 2 * DT, [0.0, 0.0])
    if ladder == "used":
        wrong.step(None, Health(stop=True))
    epoch = made.executor.plan.epoch
    with pytest.raises(SpecError, match="ladder"):
        made.executor.begin(wrong)
    assert made.executor.plan.epoch == epoch


def test_a_stop_of_between_two_runs_is_heeded_by_the_next() -> None:
    made = cell()
    made.executor.run(seconds=0.5)
    made.executor.stop()
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    sent = len(made.robot.sent)
    assert made.executor.run(seconds=0.5) is Ending.STOPPED
    assert len(made.robot.sent) == sent + 1


def test_a_pause_of_between_two_runs_stays_until_it_is_ended() -> None:
    made = cell()
    made.executor.run(done=lambda: made.executor.counts.ticks >= 30)
    made.executor.pause()
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    sent = len(made.robot.sent)
    assert made.executor.run(seconds=0.5) is Ending.TIME
    assert len(made.robot.sent) == sent
    made.executor.resume()
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    made.executor.run(seconds=0.5)
    assert len(made.robot.sent) > sent + 40


def test_a_signal_ends_all_episodes_and_not_only_the_one_that_it_came_in() -> None:
    made = cell()
    with on_signals(made.executor.stop):
        assert made.executor.run(done=made.after(20, lambda: signal.raise_signal(signal.SIGTERM))) is Ending.STOPPED
        for _ in range(2):
            made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
            sent = len(made.robot.sent)
            assert made.executor.run(seconds=0.5) is Ending.STOPPED
            assert len(made.robot.sent) == sent + 1
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    assert made.executor.run(seconds=0.5) is Ending.TIME


def test_what_waits_between_two_runs_is_not_gone_on_with() -> None:
    """The scene is put in order by hand, for ten minutes, and the run goes on without a new episode."""
    made = cell()
    made.executor.run(done=lambda: made.executor.counts.ticks >= 30)
    made.clock.time += 600.0
    made.executor.run(seconds=1.0)
    check_safe(made)
    assert made.executor.counts.standstills == 1
    assert states(made) == ["HOLD", "RUN", "STOPPING", "HOLD", "RUN", "STOPPING", "HOLD"]


def test_a_run_is_not_gone_on_with_after_another_robots_with_the_same_policy() -> None:
    """What it waits for went to the other, and the policy is in another episode."""
    made = cell(lambda number: 0.05)
    made.executor.run(done=lambda: made.executor.counts.ticks >= 12)
    other = FakeRobot(made.clock)
    assert next_to(made, other).run(seconds=0.5) is Ending.TIME
    sent = len(made.robot.sent)
    with pytest.raises(SpecError, match="episode 1 has begun since"):
        made.executor.run(seconds=0.5)
    assert len(made.robot.sent) == sent
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    assert made.executor.run(seconds=0.5) is Ending.TIME
    assert states(made)[-4:] == ["HOLD", "RUN", "STOPPING", "HOLD"]


@pytest.mark.faults
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("block", range(10))
def test_second_episode_at_any_moment_of_the_first(way: Callable[[Cell], Executor], block: int) -> None:
    """Each episode ends at random, with answers that take up to half a second; no chunk is another episode's."""
    rng = np.random.default_rng(block)
    made = cell(lambda number: float(rng.uniform(0, 0.5)), stay)
    executor = made.executor
    for _ in range(50):
        made.robot.at = np.full(2, rng.uniform(-1.5, 1.5))
        before, at, length = len(made.robot.sent), made.robot.at, int(rng.integers(1, 120))
        executor = made.executor = way(made)
        start = executor.counts.ticks
        executor.run(done=lambda start=start, length=length, e=executor: e.counts.ticks - start >= length)
        assert np.allclose(made.commands[before:], at)
