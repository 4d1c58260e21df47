"""One server and many robots: answered together, in turn, up to what it carries; and several servers as if one."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import connect

from fakes.balancer import balanced
from fakes.linked_policies import until
from fakes.served_policies import WAIT, Affine, Gate
from fakes.servers import FIRST, SOON, STATE, remote, served
from segue.core.chunk import Continuation, nothing_to_continue
from segue.errors import RemoteError, SpecError
from segue.links.client import RemotePolicy
from segue.links.messages import Question
from segue.links.server import PolicyServer
from segue.links.serving.answers import together
from segue.links.serving.capacity import Capacity
from segue.links.serving.load import Load, loaded


class Together(Gate):
    """Answers several at once, each as it would alone; what starts at 13 is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []

    def next_chunk(self, observation: NDArray, continuation: Continuation) -> NDArray:
        if continuation.start == 13:
            raise SpecError("13", "another", "count on")
        return super().next_chunk(observation, continuation)

    def chunks(self, observations: Sequence[NDArray], continuations: Sequence[Continuation]) -> NDArray:
        self.batches.append([each.start for each in continuations])
        if 13 in self.batches[-1]:
            raise SpecError("13", "another", "count on")
        pairs = zip(observations, continuations, strict=True)
        return np.stack([Affine.next_chunk(self, seen, each) for seen, each in pairs])


def at(start: int) -> Continuation:
    return nothing_to_continue(start, 2, 4)


def asking(there: RemotePolicy, start: int, heard: dict[int, Any]) -> threading.Thread:
    """Ask in a thread of its own."""

    def ask() -> None:
        try:
            heard[start] = there.next_chunk(STATE, at(start))[0, 0]
        except RemoteError as error:
            heard[start] = error.got

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def answered_while_busy(starts: Sequence[int]) -> tuple[Together, dict[int, Any]]:
    """What robots hear that all ask while the policy is busy with a first one, which starts at 0."""
    policy, heard = Together(), dict[int, Any]()
    with served(policy, wait=0.0) as it, ExitStack() as stack:
        robots = [stack.enter_context(remote(it.url)) for _ in [0, *starts]]
        threads = [asking(robots[0], 0, heard)]
        assert policy.entered.acquire(timeout=WAIT)
        threads += [asking(there, start, heard) for there, start in zip(robots[1:], starts, strict=True)]
        until(lambda: len(it._turns._waiting) == len(starts))
        policy.go_on.release(1 + len(starts))
        for each in threads:
            each.join()
    return policy, heard


def test_those_who_ask_while_the_policy_is_busy_are_answered_together_each_its_own() -> None:
    policy, heard = answered_while_busy([1, 2, 3])
    assert heard == {start: 0.25 + start for start in range(4)}
    assert [sorted(each) for each in policy.batches] == [[1, 2, 3]]


def test_a_question_that_the_policy_refuses_costs_those_beside_it_nothing(caplog: pytest.LogCaptureFixture) -> None:
    policy, heard = answered_while_busy([1, 13, 3])
    assert [heard[start] for start in (0, 1, 3)] == [0.25, 1.25, 3.25]
    assert "refused" in heard[13]
    assert len(policy.batches) == 1
    assert "failed at several questions together" in caplog.text


def test_only_those_who_are_told_the_same_are_answered_together() -> None:
    one, other = (Question(STATE, FIRST, prompt=prompt) for prompt in ("fold", "pour"))
    assert together(one, one)
    assert not together(one, other)
    assert not together(one, None)  # a reset
    assert not together(None, None)


def test_one_robot_too_many_is_told_the_numbers_and_has_its_place_when_another_leaves() -> None:
    capacity = Capacity(Affine.spec, {1: 1000.0})
    capacity.answered = lambda *_: None  # type: ignore[method-assign]
    said = "busy: this server carries 1 robot at 50 Hz with this policy; yours would be number 2"
    with served(Affine(), capacity=capacity) as it, remote(it.url) as first, remote(it.url) as second:
        assert first.next_chunk(STATE, FIRST)[0, 0] == 0.25
        with pytest.raises(RemoteError, match=said):
            second.next_chunk(STATE, FIRST)
        with pytest.raises(RemoteError, match=f"no server at .*503: {said}"):
            RemotePolicy(it.url, patience=SOON)
        assert first.next_chunk(STATE, FIRST)[0, 0] == 0.25
        first.close()
        until(lambda: it._robots == 0)
        assert second.next_chunk(STATE, FIRST)[0, 0] == 0.25


def test_what_answers_take_is_measured_while_the_server_runs() -> None:
    capacity = Capacity(Affine.spec, {1: 1000.0})
    with served(Affine(), capacity=capacity) as it, remote(it.url) as there:
        for _ in range(200):
            there.next_chunk(STATE, FIRST)
    assert capacity.seconds(1) < 1.0  # nothing was asked that takes a thousand seconds
    assert capacity.period < 1.0


@pytest.mark.parametrize("idle", [50, pytest.param(1000, marks=pytest.mark.faults)])
def test_connections_that_ask_nothing_are_no_robots_and_keep_nobody_waiting(idle: int) -> None:
    capacity = Capacity(Affine.spec, {1: 1000.0})

    async def silent(url: str, there: RemotePolicy) -> None:
        async with connect(url, compression=None, proxy=None, ping_interval=None) as one:
            open_ = [one] + [await connect(url, compression=None, proxy=None, ping_interval=None) for _ in range(idle)]
            for _ in range(10):
                await asyncio.to_thread(there.next_chunk, STATE, FIRST)
            await asyncio.gather(*(each.close() for each in open_))

    with served(Affine(), capacity=capacity, max_clients=idle + 2) as it, remote(it.url) as there:
        asyncio.run(silent(it.url, there))
        assert it._robots == 1


class Declared(Affine):
    """Takes 2 ms, and 0.1 ms more for each robot."""

    most = 0

    def chunks(self, observations: Sequence[NDArray], continuations: Sequence[Continuation]) -> NDArray:
        self.most = max(self.most, len(observations))
        time.sleep(0.002 + 0.0001 * len(observations))
        return np.zeros((len(observations), 8, 2), np.float32)

    def next_chunk(self, observation: NDArray, continuation: Continuation) -> NDArray:
        return self.chunks([observation], [continuation])[0]


@pytest.mark.faults
def test_64_robots_at_50_hz_on_one_server() -> None:
    policy = Declared()
    with served(policy, max_clients=64) as it:
        found = asyncio.run(loaded(Load(it.url, rate=50.0, steps=7), 64, 5.0))
    assert found.refused.keys() <= {"superseded"}  # none is turned away, none fails
    assert found.answered + sum(found.refused.values()) + found.missed >= found.asked >= 64 * 30
    assert found.answered > 0
    assert policy.most > 1


SERVER = """
import sys
from segue.links.address import Address
from segue.links.server import PolicyServer, serve_until
from fakes.served_policies import Affine
serve_until(PolicyServer(Affine(), Address(port=int(sys.argv[1]))), (), lambda it: print(it.url, flush=True))
"""


class Served:
    """A server in a process of its own, which may be killed."""

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_two_servers_behind_a_balancer_are_as_one_for_the_continuation_travels_along() -> None:
    """One is killed in mid-run, then the other: a robot without a server hears of it, holds, and goes on afterwards."""
    servers, here = [Served(), Served()], Affine()
    try:
        with balanced([each.port for each in servers]) as url, remote(url) as there:
            chunk = there.next_chunk(STATE, FIRST)
            for step in (3, 6, 9, 12):
                if step == 6:  # the one that has answered so far: the first connection went to it
                    servers[0].kill()
                asked = Continuation(step, chunk[3:], 2, 3, np.ones(5, np.int64), episode=1)
                expected = here.next_chunk(STATE, asked)
                chunk = there.next_chunk(STATE, asked)
                np.testing.assert_array_equal(chunk, expected)
            servers[1].kill()
            there.deadline = SOON
            with pytest.raises(RemoteError):
                there.next_chunk(STATE, FIRST)
            servers.append(Served(servers[1].port))
            there.deadline = WAIT
            np.testing.assert_array_equal(there.next_chunk(STATE, asked), expected)
    finally:
        for each in servers:
            with suppress(ValueError):  # its output has been read to the end
                each.kill()


def test_how_many_at_once_is_no_matter_of_a_policy_with_a_memory() -> None:
    class Remembers(Together):
        stateless = False

    assert PolicyServer(Remembers())._turns.most == 1
    assert PolicyServer(Remembers(), max_clients=8).max_clients == 1
    assert PolicyServer(Together())._turns.most > 1
    assert PolicyServer(Affine())._turns.most == 1


def test_there_is_room_for_more_connections_than_robots_and_not_for_any_number() -> None:
    assert PolicyServer(Affine()).max_clients == 16
    for seconds, room in ((1000.0, 16), (0.0016, 160), (1e-6, 1024)):
        assert PolicyServer(Affine(), capacity=Capacity(Affine.spec, {1: seconds})).max_clients == room
