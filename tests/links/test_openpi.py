"""A server that speaks as openpi's, under the executor at 50 Hz: the wire is real, the robot's time is not."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest

from fakes.clock_robot_link import LIMITS, Cell, FakeClock, FakeLink, FakeRobot, Log, states
from fakes.openpi_server import GOAL, Openpi, towards
from fakes.served_policies import SPEC as OTHER
from fakes.served_policies import WAIT, openpi_frame
from fakes.servers import SOON, served
from segue.core.chunk import ChunkPolicy, nothing_to_continue
from segue.core.spec import PolicySpec
from segue.errors import RemoteError, SpecError, WireError
from segue.links.client import RemotePolicy
from segue.links.layouts import Layout
from segue.links.openpi import openpi_policy
from segue.links.worker import line
from segue.methods.around import continued
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan, Request
from segue.runtime.executor import Executor, Tolerance
from segue.safety.ladder import Ladder

RATE = 50
FLAT = Layout(state={"observation/state": 3})
ROBOT = PolicySpec(1, 1 / RATE, ("shoulder", "elbow", "one"), ("shoulder", "elbow"))
STATE = np.array([0.1, 0.2, 1.0], np.float32)
FIRST = nothing_to_continue(0, 2, 4)


@contextmanager
def asked(openpi: Openpi, robot: PolicySpec = ROBOT, layout: Layout = FLAT, **words: Any) -> Iterator[RemotePolicy]:
    patient: dict[str, Any] = {"deadline": WAIT, "patience": WAIT, "compilation": WAIT}
    with openpi.listening() as url:
        policy = openpi_policy(url, layout, robot, **(patient | words))
        try:
            yield policy
        finally:
            policy.close()


def driven(policy: ChunkPolicy, delay: Callable[[int], float] = lambda number: 0.08) -> Cell:
    """An arm at 50 Hz; an answer comes so many seconds of its time after the question, see `FakeLink`."""

    def answer(request: Request, observation: np.ndarray) -> Any:
        try:
            return policy.next_chunk(observation, request.continuation)
        except Exception as error:
            return line(error)  # as the policy process says it

    clock, log = FakeClock(), Log()
    robot, link = FakeRobot(clock), FakeLink(clock, delay, answer)
    plan = Plan(policy.spec.horizon, 2, 13, WindowQuantile(4))
    executor = Executor(
        robot, plan, Ladder(LIMITS, 1 / RATE, [0.0, 0.0]), link, clock=clock, position=robot.position, sink=log,
        tolerance=Tolerance(stall=None),
    )  # fmt: skip
    return Cell(clock, robot, link, log, executor)


def check_sent(cell: Cell) -> None:
    """One finite command for every slot, inside of the limits of position, velocity, acceleration and jerk."""
    counts = cell.executor.counts
    assert (counts.skipped, counts.failed_sends) == (0, 0)
    assert len(cell.commands) == counts.ticks
    path = np.concatenate([np.zeros((3, 2)), cell.commands])
    assert np.isfinite(path).all()
    assert (np.abs(path) <= 2).all()
    for order, bound in enumerate((LIMITS.velocity, LIMITS.acceleration, LIMITS.jerk), start=1):
        assert (np.abs(np.diff(path, order, axis=0)) <= np.array(bound) / RATE**order * (1 + 1e-9) + 1e-12).all()


def test_the_size_of_a_chunk_is_what_the_first_answer_has_and_it_is_asked_at_rest() -> None:
    openpi = Openpi()
    with asked(openpi, prompt="fold") as policy:
        assert policy.spec == replace(ROBOT, horizon=50)
        assert openpi.seen[0]["observation/state"].tolist() == [0, 0, 0]
        chunk = policy.next_chunk(STATE, FIRST)
    assert chunk == pytest.approx(towards(STATE), abs=1e-6)
    assert chunk.dtype == np.float32
    assert openpi.seen[-1]["observation/state"] == pytest.approx(STATE)
    assert [each["prompt"] for each in openpi.seen] == ["fold", "fold"]


@pytest.mark.parametrize(
    ("actions", "why"),
    [
        (np.zeros((50, 3)), "3 actions per step"),
        (np.zeros((50, 32)), "32 actions per step"),
        (np.zeros((0, 2)), "horizon of size 0"),
        (np.zeros(50), r"shape \(50,\)"),
        (np.zeros((2, 50, 2)), r"shape \(2, 50, 2\)"),
        (np.full((50, 2), np.nan), "NaN"),
        (np.full((50, 2), 1e300), "infinity"),
        (np.zeros((50, 2), np.int64), "int64"),
        (np.zeros((50, 2), np.complex64), "another dtype"),
        (np.zeros((50, 2), np.dtype("V4")), "another dtype"),
        ([[0.0, 0.0]], "no array"),
        (np.zeros((5000, 2)), "4096"),
    ],
)
def test_a_first_answer_that_is_no_chunk_of_this_robot_is_refused(actions: Any, why: str) -> None:
    with pytest.raises((SpecError, WireError), match=why), asked(Openpi(lambda _: actions)):
        pass


def test_a_server_that_misses_something_says_so_in_its_own_words() -> None:
    with (
        pytest.raises(RemoteError, match=r"KeyError: 'observation/state'[\s\S]*--layout"),
        asked(Openpi(), layout=Layout({"state": 3})),
    ):
        pass


def test_a_server_that_is_not_there_or_is_one_of_segue_is_named() -> None:
    with pytest.raises(RemoteError, match=r"no server at[\s\S]*serve_policy.py"):
        openpi_policy("ws://127.0.0.1:9", FLAT, ROBOT, patience=SOON)
    with served(type("Served", (), {"spec": OTHER})()) as server, pytest.raises(SpecError, match="server of Segue"):
        openpi_policy(server.url, FLAT, ROBOT, patience=WAIT)


def test_only_the_first_answer_may_take_as_long_as_a_compiler() -> None:
    with asked(Openpi(first=3 * SOON), deadline=SOON) as policy:
        assert policy.spec.horizon == 50
    with pytest.raises(RemoteError, match="within"), asked(Openpi(first=3 * SOON), compilation=SOON):
        pass


@pytest.mark.parametrize("method", ["naive", "cross-fade", "ensembling", "cross-fade:predictor=commanded"])
@pytest.mark.parametrize("jitter", [False, True])
def test_no_slot_is_missed_at_fifty_hertz(method: str, jitter: bool) -> None:
    """Answers after 80 ms, or after 40 to 160: every slot from the first chunk on has an action, up to the goal."""
    chance = random.Random(0)
    with asked(Openpi()) as remote:
        cell = driven(
            continued(remote, method)[0], (lambda _: chance.uniform(0.04, 0.16)) if jitter else lambda _: 0.08
        )
        cell.executor.run(6.0)
    check_sent(cell)
    assert cell.executor.counts.starved == 0
    assert cell.executor.conversation.said.errors == 0
    assert cell.commands[-1] == pytest.approx([GOAL, GOAL], abs=0.05)


FAULTS: dict[str, Any] = {
    "closed": None,
    "traceback": ValueError("out of memory"),
    "text": "hello",
    "no msgpack": b"\xc1",
    "no actions": openpi_frame({"state": STATE}),
    "NaN": openpi_frame({"actions": np.full((50, 2), np.nan)}),
    "fewer steps": openpi_frame({"actions": np.zeros((10, 2))}),
    "more actions": openpi_frame({"actions": np.zeros((50, 7))}),
    "pickled": openpi_frame({"actions": {b"__ndarray__": True, b"dtype": "|O", b"shape": [1], b"data": b"cos\n"}}),
    "a promise of memory": openpi_frame(
        {"actions": {b"__ndarray__": True, b"dtype": "<f8", b"shape": [4096, 4096], b"data": b""}}
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_answer_that_cannot_be_used_is_asked_for_again(name: str) -> None:
    """The executing chunk goes on meanwhile; the robot gets nothing of the answer, and arrives."""
    openpi = Openpi(faults={4: FAULTS[name]})  # 1 is the first of all, 2 and 3 are executed
    with asked(openpi) as remote:
        cell = driven(continued(remote, "cross-fade")[0])
        cell.executor.run(6.0)
    check_sent(cell)
    said = cell.executor.conversation.said
    assert said.errors == (0 if name == "closed" else 1)  # a connection that breaks is made anew for the same request
    assert cell.executor.counts.starved == 0
    assert openpi.connections >= 2
    assert cell.commands[-1] == pytest.approx([GOAL, GOAL], abs=0.05)


def test_the_robot_comes_to_rest_without_a_server_and_goes_on_when_it_is_back() -> None:
    openpi = Openpi()
    with asked(openpi, deadline=SOON) as remote:
        cell = driven(continued(remote, "cross-fade")[0])
        resting: list[np.ndarray] = []

        def done() -> bool:
            ticks = cell.executor.counts.ticks
            if ticks == 50:
                openpi.there.clear()
            if ticks == 250:
                resting.extend(cell.commands[-20:])
                remote.deadline = WAIT
                openpi.there.set()
            return False

        cell.executor.run(12.0, done)
    check_sent(cell)
    assert np.ptp(resting, axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert cell.executor.conversation.said.errors > 0
    assert states(cell)[:6] == ["HOLD", "RUN", "DEGRADED", "STOPPING", "HOLD", "RUN"]
    assert cell.commands[-1] == pytest.approx([GOAL, GOAL], abs=0.05)


def test_a_request_that_is_never_answered_leaves_the_robot_at_rest() -> None:
    with asked(Openpi()) as remote:
        cell = driven(remote, lambda number: 0.08 if number < 3 else inf)
        cell.executor.run(5.0)
    check_sent(cell)
    assert np.ptp(cell.commands[-50:], axis=0) == pytest.approx([0, 0], abs=1e-9)


def test_methods_that_need_more_than_chunks_are_refused() -> None:
    with asked(Openpi()) as remote:
        for method in (
            "rtc",
            "legato",
            "predictive",
            "rtr",
            "naive:scale=0.7",
            "naive:predictor=learned",
            "latent-naive",
        ):
            with pytest.raises(SpecError, match="finished chunks"):
                continued(remote, method)


def test_a_commanded_state_is_what_equal_names_say() -> None:
    """The server sees the robot where it is commanded to be at the takeover."""
    openpi = Openpi()
    with asked(openpi) as remote:
        policy = continued(remote, "naive:predictor=commanded")[0]
        first = policy.next_chunk(STATE, FIRST)
        later = replace(FIRST, start=4, prefix=first[4:], delay=3)
        chunk = policy.next_chunk(STATE, later)
    assert openpi.seen[-1]["observation/state"] == pytest.approx([*first[6], 1.0])
    assert (chunk[:3] == first[4:7]).all()
    nameless = replace(ROBOT, action_names=("x", "y"))
    with asked(Openpi(), nameless) as remote, pytest.raises(SpecError, match="by its name"):
        continued(remote, "naive:predictor=commanded")
