"""Replaying a trace: the plan decides the same again, and a trace that was changed is found out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.clock_robot_link import DT, LIMITS, cell, wave
from fakes.recorded_runs import Run
from segue.errors import DataError
from segue.plan.plan import Delivery, Event, Handover, Plan, Request
from segue.plan.trigger import Continuously, QueueThreshold, Trigger
from segue.safety.ladder import Ladder
from segue.trace.file import Trace, TraceWriter, plan_header, read
from segue.trace.records import DELIVERIES, EVENTS
from segue.trace.replay import replay


def recorded(path: Path, delays: list[int], handover: Handover = Handover.CONTINUE, **faults: set[int]) -> Trace:
    run = Run(path, handover)
    for episode in range(2):
        if episode:
            run.reset(episode)
        for place, delay in enumerate(delays):
            run.step(delay, **{name: place in places for name, places in faults.items()})
    run.writer.close()
    return read(path)


def changed(trace: Trace, kind: str, place: int, **values: Any) -> Trace:
    ticks, chunks = trace.ticks.copy(), trace.chunks.copy()
    records = {"ticks": ticks, "chunks": chunks}[kind]
    for name, value in values.items():
        records[name][place] = value
    return Trace(trace.header, ticks, chunks, trace.dropped)


@pytest.mark.parametrize("handover", Handover)
def test_the_plan_decides_the_same_again(tmp_path: Path, handover: Handover) -> None:
    trace = recorded(tmp_path / "t", [2] * 40, handover)
    found = replay(trace)
    assert found.difference is None
    assert found.ticks == len(trace.ticks) == 80
    stale = trace.chunks["outcome"] == DELIVERIES.index(Delivery.STALE)
    assert found.requests >= found.deliveries == np.sum(~stale) > 8


@pytest.mark.parametrize("handover", Handover)
def test_what_was_seen_decides_nothing(tmp_path: Path, handover: Handover) -> None:
    """The run gave its plan what was seen, the replay does not: the requests say another past, and decisions agree."""
    run, past = Run(tmp_path / "t", handover), []
    for _ in range(40):
        run.step(2)
        if run.under_way is not None:
            past.append(run.under_way[1].continuation.past)
    run.writer.close()
    assert any(each is not None for each in past) == (handover is not Handover.WAIT)
    assert replay(read(tmp_path / "t")).difference is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    delays=st.lists(st.integers(0, 20), min_size=30, max_size=60),
    damage=st.sets(st.integers(0, 30)),
    lost=st.sets(st.integers(0, 30)),
    handover=st.sampled_from(Handover),
)
def test_whatever_happened_replays(
    tmp_path_factory: pytest.TempPathFactory, delays: list[int], damage: set[int], lost: set[int], handover: Handover
) -> None:
    trace = recorded(tmp_path_factory.mktemp("run") / "t", delays, handover, damage=damage, lost=lost)
    found = replay(trace)
    assert found.difference is None, found.difference
    assert found.ticks == len(trace.ticks)


@pytest.mark.parametrize(
    ("kind", "place", "values", "says"),
    [
        ("ticks", 20, {"index": 7}, "index"),
        ("ticks", 20, {"chunk": 3}, "chunk"),
        ("ticks", 20, {"event": 2}, "event held"),
        ("ticks", 20, {"step": 22}, "step"),
        ("ticks", 20, {"request": 9}, "request 9"),
        ("chunks", 3, {"arrived": 13}, "event"),
        ("chunks", 3, {"requested": 11}, "asked for at step 11"),
        ("chunks", 3, {"outcome": 2}, "expired"),
        ("chunks", 3, {"number": 99}, "request 99"),
        ("chunks", 3, {"actions": np.nan}, "taken"),
    ],
)
def test_the_first_difference_is_named(
    tmp_path: Path, kind: str, place: int, values: dict[str, Any], says: str
) -> None:
    trace = changed(recorded(tmp_path / "t", [2] * 40), kind, place, **values)
    found = replay(trace)
    assert found.difference is not None
    assert says in found.difference.recorded
    assert found.difference.recorded != found.difference.replayed
    assert found.difference.place.startswith("epoch 0, step ")
    assert found.ticks < 40


@pytest.mark.parametrize("trigger", [QueueThreshold(5), Continuously()], ids=str)
def test_whatever_asks_for_the_next_chunk(tmp_path: Path, trigger: Trigger) -> None:
    run = Run(tmp_path / "t", trigger=trigger)
    for _ in range(40):
        run.step(2)
    run.writer.close()
    found = replay(read(tmp_path / "t"))
    assert found.difference is None
    assert found.ticks == 40


def test_another_plan_decides_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = recorded(tmp_path / "t", [2] * 40)
    monkeypatch.setattr(Plan, "_wanted", lambda plan: plan.step % 5 == 0)
    found = replay(trace)
    assert found.difference is not None
    assert found.difference.place == "epoch 0, step 4"  # where the recorded plan asked for its second chunk
    assert (found.difference.recorded, found.difference.replayed) == ("request 2", "request None")


def test_a_tick_in_which_the_plan_was_not_asked(tmp_path: Path) -> None:
    run = Run(tmp_path / "t")
    asks = run.plan.request
    run.plan.request = lambda _: None  # type: ignore[method-assign]
    run.step(2)
    run.plan.request = asks  # type: ignore[method-assign]
    for _ in range(20):
        run.step(2)
    run.writer.close()
    trace = read(tmp_path / "t")
    found = replay(trace)
    assert found.difference is not None
    assert found.difference.recorded == "request None"
    assert replay(changed(trace, "ticks", 0, asked=False)).difference is None


def test_ticks_in_which_the_ladder_did_not_follow_the_plan(tmp_path: Path) -> None:
    """From a whole executor whose robot is stopped, paused and whose machine stood still; all chunks of odd kinds."""
    path = tmp_path / "t"

    def answer(request: Request, seen: np.ndarray) -> np.ndarray:
        odd = {5: np.full((16, 2), "x"), 9: np.zeros((15, 2), np.float32), 13: np.full((16, 2), np.nan)}
        return odd.get(request.number, wave(request, seen))

    made = cell(answer=answer)
    writer = TraceWriter(
        path, {"plan": plan_header(made.executor.plan)}, action=2, observation=3, horizon=16, ticks=999, chunks=300
    )
    made.executor._sink = made.executor.conversation._sink = writer
    events = {60: made.executor.pause, 90: made.executor.resume}

    def done() -> bool:
        events.get(made.executor.slot, lambda: None)()
        made.clock.time += 2.0 if made.executor.slot == 120 else 0.0
        return False

    made.executor.run(done=done, seconds=4.5)
    made.executor.begin(Ladder(LIMITS, DT, made.robot.at.tolist()))
    made.executor.run(seconds=1.0)
    writer.close()
    trace = read(path)
    assert Event.STOOD in {EVENTS[code] for code in trace.ticks["event"]}
    assert trace.dropped == (0, 0)
    found = replay(trace)
    assert found.difference is None, found.difference
    assert found.ticks == len(trace.ticks) > 250


def test_a_trace_without_all_chunks_is_not_replayed(tmp_path: Path) -> None:
    run = Run(tmp_path / "t", chunks=2)
    for _ in range(30):
        run.step(2)
    run.writer.close()
    with pytest.raises(DataError, match="no room for"):
        replay(read(tmp_path / "t"))


@pytest.mark.parametrize(
    "change",
    [
        {"handover": "jump"},
        {"horizon": "many"},
        {"delay": {"quantile": 1}},
        {"execution_horizon": 12},
        {"trigger": "now"},
        None,
    ],
)
def test_a_header_without_a_plan_is_refused(tmp_path: Path, change: dict[str, Any] | None) -> None:
    trace = recorded(tmp_path / "t", [2] * 4)
    plan = None if change is None else trace.header["plan"] | change
    with pytest.raises(DataError, match="describes no plan"):
        replay(Trace({**trace.header, "plan": plan}, trace.ticks, trace.chunks, (0, 0)))
