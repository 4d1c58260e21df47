"""The executor with a policy that says its first actions first: reaction, lost tails, new episodes between parts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from fakes.clock_robot_link import DT, HORIZON, Cell, FakeLink, cell, check_safe, states, wave
from fakes.point_mass import SPEC
from segue.core.chunk import Array
from segue.plan.plan import Event, Request
from segue.runtime.run import Tolerance
from segue.trace.file import TraceWriter, plan_header, read
from segue.trace.measures import delays, robot_header
from segue.trace.replay import replay
from segue.trace.summary import summarise_run

TAKES = 5 * DT
"""Time of an inference of five solver steps."""
Schedule = Callable[[int], list[tuple[int, int]]]
"""Given the committed steps d: control steps after the request, and leading actions that are finished by then."""


def fifths(d: int) -> list[tuple[int, int]]:
    """After each solver step more actions are finished, the first free one after the first."""
    return [(k, d + max(1, (HORIZON - d) * (k - 1) // 4)) for k in range(1, 6)]


class Streaming(FakeLink):
    """Answers by a schedule. Of requests that are ``lost``, only two parts ever come."""

    schedule: Schedule = staticmethod(fifths)
    lost: tuple[int, ...] = ()

    def send(self, request: Request, observation: Array) -> None:
        super().send(request, observation)
        _, whole = self.due.pop()
        assert whole.actions is not None
        parts = self.schedule(request.continuation.delay)
        for after, finished in parts[:2] if request.number in self.lost else parts:
            answer = structs.replace(whole, actions=whole.actions[:finished], more=finished < HORIZON)
            self.due.append((self.clock.now() + after * DT - 1e-9, answer))


def streaming(*lost: int, tolerance: Tolerance | None = None, schedule: Schedule = fifths) -> Cell:
    made = cell(s=6, tolerance=tolerance)
    link = Streaming(made.clock, epoch=made.link.epoch)
    link.lost, link.schedule = lost, schedule
    made.link = made.executor.link = made.executor.conversation._link = link
    return made


def takeovers(made: Cell) -> list[int | None]:
    return [tick.index for _, tick, _ in made.log.ticks if tick.event is Event.SWITCHED]


def test_the_robot_reacts_after_the_first_solver_step_and_not_after_the_last() -> None:
    whole = cell(delay=lambda number: TAKES, s=6)
    whole.executor.run(seconds=2.0)
    assert set(takeovers(whole)[1:]) == {5}
    made = streaming()
    made.executor.run(seconds=2.0)
    check_safe(made)
    assert set(takeovers(made)[1:]) == {1}
    told = [request.continuation.delay for request in made.link.requests]
    assert set(told[2:]) == {1}
    assert made.executor.counts.starved == 0
    assert states(made) == states(whole) == ["HOLD", "RUN", "STOPPING", "HOLD"]
    assert made.executor.conversation.said.outcomes == whole.executor.conversation.said.outcomes


def test_a_lost_tail_ends_like_a_chunk_that_is_late() -> None:
    """The robot comes to rest at the end of what is there; the failure is named, and it goes on from rest."""
    made, given_up = streaming(9), []

    def supervise() -> bool:
        """Gives the policy up half a second after the request that it does not answer, as its supervisor does."""
        request = made.link.requests[-1]
        if len(made.link.requests) == 9 and not given_up and made.executor.plan.step - request.step > 50:
            given_up.append(made.executor.slot)
            made.link.fail(request, "hung")
        return False

    made.executor.run(done=supervise, seconds=3.0)
    check_safe(made)
    assert states(made) == ["HOLD", "RUN", "STOPPING", "HOLD", "RUN", "STOPPING", "HOLD"]
    assert made.executor.conversation.said.last_error == "hung"
    lost = [tick.index for _, tick, _ in made.log.ticks if tick.chunk == 9 and tick.index is not None]
    there = max(len(record["actions"][~np.isnan(record["actions"][:, 0])]) for request, _, record in made.log.chunks
                if request.number == 9 and record["actions"] is not None)  # fmt: skip
    assert lost == list(range(1, there))
    assert there < HORIZON
    assert made.link.requests[9].continuation.known == 0


def test_what_comes_after_a_new_episode_has_begun_is_not_executed() -> None:
    made = streaming()

    def done() -> bool:
        parts = [request for request, _, record in made.log.chunks if np.isnan(record["actions"]).any()]
        if made.executor.plan.epoch == 0 and parts and parts[-1].number == 8:
            made.executor.conversation.reset()
        return False

    made.executor.run(done=done, seconds=2.0)
    check_safe(made)
    old = [tick.chunk for _, tick, values in made.log.ticks if values["epoch"] == 1 and tick.chunk is not None]
    assert min(old) == 9
    assert made.executor.plan.epoch == 1
    assert [outcome.value for request, outcome, _ in made.log.chunks if request.number == 8][-1] == "stale"


def test_a_part_that_is_not_finite_never_reaches_the_robot() -> None:
    made = streaming()

    def spoilt(request: Request, seen: Array) -> Array:
        chunk = wave(request, seen)
        if request.number % 3 == 0:
            chunk[:2] = np.nan
        return chunk

    made.link.answer = spoilt
    made.executor.run(seconds=2.0)
    check_safe(made)
    executed = {tick.chunk for _, tick, _ in made.log.ticks if tick.chunk is not None}
    assert not {chunk for chunk in executed if chunk % 3 == 0}
    assert made.executor.conversation.said.last_error == "a chunk that is not finite"


def test_a_gap_that_a_part_ends_is_the_slowness_of_its_chunk(tmp_path: Path) -> None:
    """d = 3: four actions are there after one step, six more after six, when the robot has held for two."""
    made = streaming(schedule=lambda d: [(1, d + 1), (6, d + 7), (8, HORIZON)])
    header = {"plan": plan_header(made.executor.plan), "robot": robot_header(SPEC), "rate": 1 / DT}
    writer = TraceWriter(tmp_path / "t", header, action=2, observation=3, horizon=16, ticks=999, chunks=900)
    made.executor._sink = made.executor.conversation._sink = writer
    made.executor.run(seconds=1.0)
    writer.close()
    gaps = [gap for gap in summarise_run(read(tmp_path / "t")).gaps if gap.time < 0.9]  # the last is the run's end
    assert [(gap.ticks, gap.why) for gap in gaps] == [(2, "the answer took longer than the actions lasted")]
    assert {request.continuation.delay for request in made.link.requests[2:]} == {5}


@pytest.mark.parametrize("lost", [(), (9,)])
def test_a_trace_of_parts_is_replayed_and_says_when_chunks_took_over(tmp_path: Path, lost: tuple[int, ...]) -> None:
    made = streaming(*lost, tolerance=Tolerance(stall=None, hold=0.3))
    writer = TraceWriter(
        tmp_path / "t", {"plan": plan_header(made.executor.plan)}, action=2, observation=3, horizon=16, ticks=999,
        chunks=900,
    )  # fmt: skip
    made.executor._sink = made.executor.conversation._sink = writer
    made.executor.run(seconds=2.0)
    writer.close()
    trace = read(tmp_path / "t")
    found = replay(trace)
    assert found.difference is None
    assert found.ticks == len(trace.ticks)
    assert len(trace.parts) > len(trace.chunks)
    assert len(np.unique(trace.chunks["number"])) == len(trace.chunks)
    executed, planned = delays(trace)
    assert set(executed) == {1}
    assert set(planned[1:]) == {1}
    chopped = replace(trace, parts=trace.parts[:0])
    assert replay(chopped).difference is not None


def test_a_policy_that_is_slower_than_its_actions_are_due_is_joined_later() -> None:
    """One free action after a step, all others after four: with d = 3 the robot is at position 4 by then."""
    made = streaming(schedule=lambda d: [(1, d + 1), (4, HORIZON)])
    made.executor.run(seconds=2.0)
    check_safe(made)
    assert {request.continuation.delay for request in made.link.requests[1:]} == {3}
    assert made.executor.counts.starved == 0
    assert set(takeovers(made)[1:]) == {1}
