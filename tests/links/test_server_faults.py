"""The server when a client floods it, when its policy has a memory, and when what the policy answers cannot be sent."""

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from fakes.linked_policies import until
from fakes.served_policies import WAIT, Affine, Watching, openpi_frame
from fakes.servers import FIRST, SOON, STATE, remote, served
from segue.core.chunk import Continuation, is_stateless
from segue.core.observation import Observation
from segue.errors import RemoteError
from segue.integrations.openpi import OpenpiPolicy
from segue.links import client, floods, jpeg, messages
from segue.links import server as module
from segue.links.floods import Sparing
from segue.links.server import MOST_REFUSED, PolicyServer
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy
from segue.policies.low_rate import ExpandedPolicy
from segue.policies.predictors.predictor import PredictivePolicy

HERE = str(Path(__file__).parents[1])
QUESTION = openpi_frame({"state": np.zeros(3)})


@contextmanager
def stranger(to: PolicyServer) -> Iterator[ClientConnection]:
    """A client that does as it likes, and has been greeted."""
    with connect(to.url, compression=None, proxy=None, max_queue=None, close_timeout=0.1, legacy=True) as connection:
        connection.recv(timeout=WAIT)
        yield connection


def burst(connection: ClientConnection, *frames: Frame) -> None:
    """Send frames at once, past the library, to a server that may hang up meanwhile."""
    with suppress(OSError):
        connection.socket.sendall(b"".join(frame.serialize(mask=True) for frame in frames))


def until_closed(connection: ClientConnection) -> list[str | bytes]:
    """All that is still said, up to the end of the connection."""
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(connection.recv(timeout=WAIT))
    return heard


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the log no time passes."""
    monkeypatch.setattr(Sparing.__init__, "__defaults__", (lambda: 0.0,))


@pytest.mark.usefixtures("one_moment")
@pytest.mark.parametrize("frames", [500, pytest.param(10_000, marks=pytest.mark.faults)])
@pytest.mark.parametrize("frame", [b"\xc1", b"", b"\x80", b"\x81\xa5state\xc0", b"\x80\x04\x95"])
def test_log_flood_a_burst_of_bad_frames_is_two_lines_in_the_log_and_the_end_of_its_connection(
    frame: bytes, frames: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), served(Affine()) as it, remote(it.url) as honest, stranger(it) as bad:
        burst(bad, *[Frame(Opcode.BINARY, frame)] * frames)
        honest.next_chunk(STATE, FIRST)
        assert len(until_closed(bad)) <= MOST_REFUSED
        honest.next_chunk(STATE, FIRST)
    lines = [record.getMessage() for record in caplog.records if record.name == "segue.server"]
    assert len(lines) <= 2
    assert {line.split(": ")[0] for line in lines} <= {"refused a message", "closed a connection"}
    assert any(line.startswith("closed a connection") for line in lines)


@pytest.mark.parametrize(
    "frame", [Frame(Opcode.PING, b""), Frame(Opcode.PONG, b"x"), Frame(Opcode.CONT, b"", fin=False)]
)
def test_log_flood_frames_that_never_become_a_message_end_their_connection(frame: Frame) -> None:
    with served(Affine()) as it, remote(it.url) as honest, stranger(it) as bad:
        burst(bad, Frame(Opcode.BINARY, b"", fin=False), *[frame] * 2000)
        until_closed(bad)
        honest.next_chunk(STATE, FIRST)


def test_log_flood_no_more_of_a_burst_is_read_than_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    read, original = [0], floods.ServerConnection.process_event

    def counted(self: Any, event: Any) -> None:
        read[0] += 1
        original(self, event)

    monkeypatch.setattr(floods.ServerConnection, "process_event", counted)
    with served(Affine()) as it, stranger(it) as bad:
        burst(bad, *[Frame(Opcode.BINARY, b"\xc1")] * 10_000)  # 70 kB
        until_closed(bad)
    assert read[0] < 1000


def test_a_client_that_is_understood_now_and_then_stays() -> None:
    with served(Affine()) as it, stranger(it) as clumsy:
        for _ in range(3):
            for _ in range(MOST_REFUSED - 1):
                clumsy.send(b"\xc1")
                assert isinstance(clumsy.recv(timeout=WAIT), str)
            clumsy.send(QUESTION)
            assert isinstance(clumsy.recv(timeout=WAIT), bytes)


class Buffered:
    """A connection whose frames are all there already, and which takes what it is sent without a pause."""

    in_a_row = True

    def __init__(self, frames: list[bytes]) -> None:
        self.frames, self.sent = frames, list[Any]()

    async def send(self, frame: Any) -> None:
        self.sent.append(frame)

    def send_now(self, frame: Any) -> bool:
        self.sent.append(frame)
        return True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for frame in self.frames:
            yield frame


@pytest.mark.parametrize("frames", [[QUESTION] * 300, [QUESTION, b"\xc1"] * 150])
def test_others_have_their_turn_after_each_frame(frames: list[bytes]) -> None:
    """Counted in turns of the loop, not in seconds."""
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    async def both() -> None:
        async with PolicyServer(Affine(), module.Address(port=0)) as it:
            ticking = asyncio.create_task(other())
            await it._client(Buffered(frames))  # type: ignore[arg-type]
            ticking.cancel()

    asyncio.run(both())
    assert len(turns) >= len(frames)


def test_the_log_says_once_a_second_how_often(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    say = Sparing(logging.getLogger("segue.server"), lambda: now[0])
    with caplog.at_level(logging.INFO):
        for at in (100.0, 100.1, 100.9, 101.0, 101.5, 104.0):
            now[0] = at
            say.tell("refused a message", f"at {at}")
            if at == 100.1:
                say.tell("something else")
    assert [record.getMessage() for record in caplog.records] == [
        "refused a message: at 100.0",
        "something else",
        "refused a message: at 101.0 (3 times since the last line)",
        "refused a message: at 104.0 (2 times since the last line)",
    ]


class Failing(Affine):
    def next_chunk(self, observation: Any, continuation: Continuation) -> Any:
        raise RuntimeError("no good")


@pytest.mark.usefixtures("one_moment")
def test_log_flood_a_policy_that_always_fails_is_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with served(Failing()) as it, remote(it.url) as there:
        for _ in range(50):
            with pytest.raises(RemoteError, match="policy-failed"):
                there.next_chunk(STATE, FIRST)
    assert len(caplog.records) == 1
    assert "no good" in caplog.text


class Remembers(Affine):
    """Counts what it is asked since its reset."""

    stateless = False

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def next_chunk(self, observation: Any, continuation: Continuation) -> Any:
        self.count += 1
        return np.full((8, 2), self.count, np.float32)

    def reset(self) -> None:
        self.count = 0


class Silent(Remembers):
    """Does not say whether it has a memory."""

    stateless: Any = None


@pytest.mark.parametrize("policy", [Remembers, Silent])
def test_a_policy_with_a_memory_serves_one_client_and_the_next_begins_anew(policy: Callable[[], Any]) -> None:
    with served(policy(), max_clients=16) as it, remote(it.url) as first:
        assert [first.next_chunk(STATE, FIRST)[0, 0] for _ in range(3)] == [1, 2, 3]
        with pytest.raises(InvalidStatus, match="503") as refused, connect(it.url, compression=None, proxy=None):
            pass
        assert refused.value.response.body == b"busy: this policy has a memory, and serves one client at a time\n"
        assert "one client at a time" in client._cause(refused.value)
        assert first.next_chunk(STATE, FIRST)[0, 0] == 4
        first.close()
        with remote(it.url) as second:
            assert second.next_chunk(STATE, FIRST)[0, 0] == 1


HANGING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fakes.served_policies import Affine
from segue.links.address import Address
from segue.links.server import PolicyServer, serve_until
from segue.runtime.signals import ends
class Hangs(Affine):
    def next_chunk(self, observation, continuation):
        print("asked", flush=True)
        time.sleep(1e6)
serve_until(PolicyServer(Hangs(), Address(port=0)), ends(), lambda server: print(server.url, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_a_server_whose_policy_hangs(number: signal.Signals) -> None:
    run = subprocess.Popen([sys.executable, "-c", HANGING, HERE], stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout is not None
        with remote(run.stdout.readline().strip(), deadline=SOON) as there:
            with pytest.raises(RemoteError):
                there.next_chunk(STATE, FIRST)
            assert run.stdout.readline() == "asked\n"
            until(lambda: run.poll() is not None or run.send_signal(number))  # those that come together are one
        assert run.returncode == -number
    finally:
        run.kill()
        run.communicate()


class Stuck(Remembers):
    """Cannot be reset for some time."""

    stuck = False

    def reset(self) -> None:
        if self.stuck:
            raise RuntimeError("busy")
        super().reset()


def test_a_policy_that_cannot_be_reset_is_asked_nothing_until_it_can() -> None:
    """Otherwise it would go on in the episode before; a new client counts as a new episode."""
    policy = Stuck()
    with served(policy) as it:
        for new_client in (False, True):
            with remote(it.url) as there:
                assert [there.next_chunk(STATE, FIRST)[0, 0] for _ in range(2)] == [1, 2]
                policy.stuck = True
                if not new_client:
                    there.reset()
                    for _ in range(2):
                        with pytest.raises(RemoteError, match="policy-failed: it cannot be reset"):
                            there.next_chunk(STATE, FIRST)
                    assert policy.count == 2
                    policy.stuck = False
                    assert there.next_chunk(STATE, FIRST)[0, 0] == 1
        with remote(it.url) as there:
            with pytest.raises(RemoteError, match="policy-failed: it cannot be reset"):
                there.next_chunk(STATE, FIRST)
            policy.stuck = False
            assert there.next_chunk(STATE, FIRST)[0, 0] == 1


def test_a_policy_with_a_memory_answers_clients_that_know_no_reset() -> None:
    """What is done for a new client is not told it: the next frame is an answer."""
    with served(Remembers()) as it, stranger(it) as there:
        there.send(QUESTION)
        answer = there.recv(timeout=WAIT)
        assert isinstance(answer, bytes)
        assert b"actions" in answer


def test_own_policies_say_that_they_have_no_memory_and_others_say_what_is_below_them() -> None:
    assert ContinuingPolicy.stateless is True
    assert OpenpiPolicy.stateless is True
    nothing: Any = None
    for below, expected in ((Affine(), True), (Remembers(), False), (Silent(), False)):
        assert is_stateless(below) is expected
        for wrapped in (FinishedPolicy(below, nothing), PredictivePolicy(below, nothing, guard=False)):
            assert is_stateless(wrapped) is expected
        assert is_stateless(ExpandedPolicy(below, 2, nothing)) is expected  # type: ignore[arg-type]


class Answers(Affine):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def next_chunk(self, observation: Any, continuation: Continuation) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\); expected: \(8, 2\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\); expected: \(8, 2\)"),
        (np.zeros((8, 32)), r"shape \(8, 32\); expected: \(8, 2\)"),
        (np.zeros((1, 8, 2)), r"shape \(1, 8, 2\); expected: \(8, 2\)"),
        (np.full((8, 2), np.nan), "NaN or infinity"),
        (np.full((8, 2), 1e300), "NaN or infinity"),
        (np.full((8, 2), "0.5"), "<U3; expected: real numbers"),
        (np.zeros((8, 2), complex), "complex128; expected: real numbers"),
        ([[0.0, 0.0], [0.0]], "rows of different lengths"),
        (None, "nothing; expected: real numbers"),
        ({"actions": np.zeros((8, 2))}, "expected: real numbers"),
    ],
)
def test_a_client_is_told_what_is_wrong_with_an_answer(answer: Any, cause: str) -> None:
    with served(Answers(answer)) as it, remote(it.url) as there:
        with pytest.raises(RemoteError, match=f"bad-answer: actions: .*{cause}"):
            there.next_chunk(STATE, FIRST)
        it.policy.answer = np.zeros((8, 2), int)  # type: ignore[attr-defined]
        assert not there.next_chunk(STATE, FIRST).any()


def test_a_client_is_told_which_picture_cannot_be_decoded(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("simplejpeg")
    noise = np.random.default_rng(0)
    pictures = {name: noise.integers(0, 256, (*s, 3), np.uint8) for name, s in Watching.spec.cameras.items()}
    seen = Observation(STATE, pictures)
    with served(Watching()) as it, remote(it.url, jpeg_quality=90) as there:
        there.next_chunk(seen, FIRST)
        whole = jpeg.encode_jpeg(pictures["front"], 90)
        broken = {"__jpeg__": True, "data": whole[:-20]}
        with stranger(it) as other:
            other.send(openpi_frame({"state": np.zeros(3), "front": broken, "wrist": pictures["wrist"]}))
            reply = other.recv(timeout=WAIT)
        assert isinstance(reply, str)
        code, _ = messages.reason(reply)
        assert code.startswith("jpeg: front: a damaged JPEG")
        assert "Traceback" not in caplog.text
