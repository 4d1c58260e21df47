"""The client: every method over the wire, servers that are wrong, silent or gone, never another's answer."""

import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from point_mass import policy as point_mass_policy
from segue.core.chunk import Continuation, PolicySpec, nothing_to_continue
from segue.errors import RemoteError, SpecError, WireError
from segue.evaluation.methods import METHODS
from segue.policies.chunk_policy import ContinuingPolicy
from segue.runtime import client as client_module
from segue.runtime import messages
from segue.runtime.address import Address
from segue.runtime.client import RemotePolicy, pause
from segue.runtime.handshake import Card, encode_card
from segue.runtime.pictures import Cameras
from segue.runtime.server import PolicyServer, running
from served import SPEC, WAIT, Affine, Watching, openpi_array, openpi_frame, openpi_read

STATE = np.array([0.25, 0.5, 0.75], np.float32)
FIRST = nothing_to_continue(0, 2, 4)
SOON = 0.3
"""Deadline of requests that will not be answered [s]; nothing depends on how long it really takes."""


@contextmanager
def remote(url: str, **settings: Any) -> Iterator[RemotePolicy]:
    patient: dict[str, Any] = {"deadline": WAIT, "patience": WAIT}
    policy = RemotePolicy(url, **(patient | settings))
    try:
        yield policy
    finally:
        policy.close()


@contextmanager
def served(policy: Any, **settings: Any) -> Iterator[PolicyServer]:
    with running(PolicyServer(policy, Address(port=0), **settings)) as server:
        yield server


@contextmanager
def fake(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A server of somebody else's; its URL."""

    def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            handler(connection)

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


FLOW = ("plain", "legato", "literal-legato", "training-time-rtc")
CONTINUING = [name for name, method in METHODS.items() if method.policy in FLOW]


@pytest.mark.parametrize("name", CONTINUING)
def test_every_method_continues_over_the_wire_as_it_does_here(name: str) -> None:
    network, strategy = point_mass_policy(), METHODS[name].strategy
    here = ContinuingPolicy(network, strategy, seed=3)
    observation = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    with served(ContinuingPolicy(network, strategy, seed=3)) as server, remote(server.url) as there:
        assert there.spec == here.spec
        continuation = nothing_to_continue(0, 2, 3)
        for step in (0, 3, 6):
            expected = here.next_chunk(observation, continuation)
            np.testing.assert_array_equal(there.next_chunk(observation, continuation), expected)
            continuation = Continuation(step + 3, expected[3:], 2, 3, np.ones(5, np.int64))
        assert there.timing["round_trip_ms"] >= there.timing["infer_ms"] >= 0


def test_the_server_is_told_what_is_continued() -> None:
    policy = Affine()
    asked = Continuation(7, np.arange(10, dtype=np.float32).reshape(5, 2), 2, 3, np.array([2, 2, 1, 1, 1]))
    with served(policy) as server, remote(server.url) as there:
        there.next_chunk(STATE, asked)
        there.next_chunk(STATE[::-1], FIRST)
    told, first = policy.asked
    assert (told.start, told.delay, told.execution_horizon) == (7, 2, 3)
    assert told.prefix.tolist() == asked.prefix.tolist()
    assert told.votes.tolist() == [2, 2, 1, 1, 1]
    assert first.prefix.shape == (0, 2)


def test_fault_8_a_server_of_another_policy_is_refused_with_the_difference() -> None:
    other = replace(SPEC, action_names=SPEC.action_names[::-1])
    with served(Affine(), hash="12") as server:
        with pytest.raises(SpecError, match="in another order"):
            RemotePolicy(server.url, spec=other)
        with pytest.raises(SpecError, match="hash '12'"):
            RemotePolicy(server.url, model_hash="34")
        with remote(server.url, spec=SPEC, model_hash="12") as there:
            assert there.spec == SPEC


def test_fault_18_a_wrong_token_is_said_at_once() -> None:
    token = "correct horse battery"
    with running(PolicyServer(Affine(), Address(port=0, token=token))) as server:
        for wrong in (None, "x"):
            with pytest.raises(RemoteError, match="the token of the server"):
                RemotePolicy(server.url, token=wrong, patience=WAIT)
        with remote(server.url, token=token) as there:
            there.next_chunk(STATE, FIRST)


def test_an_openpi_server_is_asked_as_openpi_asks() -> None:
    heard: list[dict[str, Any]] = []

    def openpi(connection: ServerConnection) -> None:
        connection.send(openpi_frame({"name": "aloha"}))
        for frame in connection:
            assert isinstance(frame, bytes)
            heard.append(openpi_read(frame))
            actions = np.arange(16, dtype=np.float64).reshape(8, 2)
            connection.send(
                openpi_frame({"actions": actions, "state": np.zeros(3), "policy_timing": {"infer_ms": 2.0}})
            )

    with fake(openpi) as url:
        with pytest.raises(SpecError, match="give the spec"):
            RemotePolicy(url, patience=WAIT)
        with remote(url, spec=SPEC, prompt="fold", state="state", cameras={"cam": (2, 3)}) as there:
            there.see({"cam": np.zeros((2, 3, 3), np.uint8)})
            actions = there.next_chunk(STATE, Continuation(4, np.ones((4, 2), np.float32), 1, 4))
            there.reset()
    assert actions.tolist() == np.arange(16).reshape(8, 2).tolist()
    assert heard[0].keys() == {"state", "prompt", "cam"}
    assert heard[0]["state"].tolist() == STATE.tolist()
    assert len(heard) == 1


@pytest.mark.parametrize("quality", [None, 95])
def test_pictures_go_along(quality: int | None) -> None:
    pytest.importorskip("simplejpeg")
    policy = Watching()
    shown = {"front": np.full((16, 24, 3), 90, np.uint8), "wrist": np.full((16, 16, 3), 30, np.uint8)}
    with served(policy) as server, remote(server.url, jpeg_quality=quality) as there:
        assert there.cameras == policy.cameras
        with pytest.raises(SpecError, match="no picture of front, wrist"):
            there.next_chunk(STATE, FIRST)
        there.see(shown, "push")
        there.next_chunk(STATE, FIRST)
    assert policy.prompt == "push"
    for name, picture in shown.items():
        assert np.abs(policy.seen[name].astype(int) - picture).max() <= 2


def greeted(connection: ServerConnection, spec: PolicySpec = SPEC) -> dict[str, Any]:
    """Greet a client as a Segue server does, and take its request."""
    connection.send(encode_card(Card(spec)))
    frame = connection.recv(timeout=WAIT)
    assert isinstance(frame, bytes)
    return openpi_read(frame)


def reply(value: float, number: int | None) -> bytes:
    frame: dict[str, Any] = {"actions": np.full((8, 2), value, np.float32)}
    return openpi_frame(frame if number is None else frame | {"segue/id": number})


def test_fault_15_an_answer_to_another_request_is_not_taken() -> None:
    def confused(connection: ServerConnection) -> None:
        number = greeted(connection)["segue/id"]
        connection.send(reply(-1, number - 1))
        connection.send(messages.refusal("superseded", identity=number - 1))
        connection.send(reply(-2, None))
        connection.send(reply(5, number))
        connection.recv(timeout=WAIT)

    with fake(confused) as url, remote(url) as there:
        assert there.next_chunk(STATE, FIRST)[0, 0] == 5


@pytest.mark.parametrize("plain", [False, True])
def test_fault_15_a_late_answer_is_not_read_as_that_of_the_next_request(plain: bool) -> None:
    """The first answer is sent after its deadline; the second request must get its own, also without numbers."""
    gave_up, connections = threading.Event(), []

    def slow(connection: ServerConnection) -> None:
        connections.append(connection)
        first = len(connections) == 1
        connection.send(openpi_frame({}) if plain else encode_card(Card(SPEC)))
        for frame in connection:
            assert isinstance(frame, bytes)
            asked = openpi_read(frame)
            if first:
                assert gave_up.wait(WAIT)
            connection.send(reply(1 if first else 2, asked.get("segue/id")))

    with fake(slow) as url, remote(url, spec=SPEC) as there:
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(STATE, FIRST)
        gave_up.set()
        there.deadline = WAIT
        assert there.next_chunk(STATE, FIRST)[0, 0] == 2
    assert len(connections) == 2


def garbage(connection: ServerConnection) -> None:
    greeted(connection)
    connection.send(b"\xc1garbage")


def truncated(connection: ServerConnection) -> None:
    connection.send(reply(1, greeted(connection)["segue/id"])[:-1])


def not_finite(connection: ServerConnection) -> None:
    connection.send(reply(np.nan, greeted(connection)["segue/id"]))


def of_another_shape(connection: ServerConnection) -> None:
    number = greeted(connection)["segue/id"]
    connection.send(openpi_frame({"actions": np.zeros((9, 2)), "segue/id": number}))


def objects(connection: ServerConnection) -> None:
    number = greeted(connection)["segue/id"]
    marked = openpi_array(np.zeros((8, 2))) | {b"dtype": "O"}
    connection.send(openpi_frame({"actions": marked, "segue/id": number}))


def tall_greeting(connection: ServerConnection) -> None:
    connection.send(b"\x91" * 1000)


@pytest.mark.parametrize("wrong", [garbage, truncated, not_finite, of_another_shape, objects])
def test_faults_15_and_17_what_a_server_answers_is_checked(wrong: Callable[[ServerConnection], None]) -> None:
    attempts: list[int] = []

    def once(connection: ServerConnection) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            wrong(connection)
            connection.recv(timeout=WAIT)
        else:
            connection.send(reply(4, greeted(connection)["segue/id"]))
            connection.recv(timeout=WAIT)

    with fake(once) as url, remote(url) as there:
        with pytest.raises(WireError):
            there.next_chunk(STATE, FIRST)
        assert there.next_chunk(STATE, FIRST)[0, 0] == 4


def test_fault_17_a_greeting_that_cannot_be_read_is_refused() -> None:
    with fake(tall_greeting) as url, pytest.raises(WireError):
        RemotePolicy(url, patience=WAIT)


def test_fault_15_an_error_of_the_server_is_passed_on() -> None:
    def failing(connection: ServerConnection) -> None:
        number = greeted(connection)["segue/id"]
        connection.send(messages.refusal("policy-failed", identity=number))
        connection.recv(timeout=WAIT)

    def openpi(connection: ServerConnection) -> None:
        connection.send(openpi_frame({}))
        connection.recv(timeout=WAIT)
        connection.send("Traceback (most recent call last):\n  File ...\nKeyError: 'images'")
        connection.close(1011, "Internal server error")

    for handler, message in ((failing, "policy-failed"), (openpi, "KeyError: 'images'")):
        with fake(handler) as url, remote(url, spec=SPEC) as there, pytest.raises(RemoteError, match=message):
            there.next_chunk(STATE, FIRST)


def hangs_up(connection: ServerConnection) -> None:
    greeted(connection)
    connection.close(1011)


HALF_A_FRAME = b"\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00half"
"""The beginning of a frame of a megabyte."""


def ends_within_a_frame(connection: ServerConnection) -> None:
    greeted(connection)
    connection.socket.sendall(HALF_A_FRAME)
    connection.socket.shutdown(socket.SHUT_RDWR)


def leaves_before_greeting(connection: ServerConnection) -> None:
    connection.close()


@pytest.mark.parametrize("fault", [hangs_up, ends_within_a_frame, leaves_before_greeting])
def test_fault_14_a_connection_that_breaks_is_made_again_and_the_question_asked_again(
    fault: Callable[[ServerConnection], None],
) -> None:
    attempts: list[int] = []

    def twice(connection: ServerConnection) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            fault(connection)
        else:
            connection.send(reply(6, greeted(connection)["segue/id"]))
            connection.recv(timeout=WAIT)

    with fake(twice) as url, remote(url) as there:
        assert there.next_chunk(STATE, FIRST)[0, 0] == 6
    assert len(attempts) == 3


def test_fault_14_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(RemoteError, match="no server"):
        RemotePolicy(url, patience=SOON)


def test_fault_14_somebody_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RemoteError, match="no server"):
        RemotePolicy(f"ws://127.0.0.1:{silent.getsockname()[1]}", patience=SOON)


@contextmanager
def bare(*handlers: Callable[[socket.socket], None], cameras: Cameras | None = None) -> Iterator[str]:
    """A server that greets as one of Segue, and then does to the bare socket what a handler says, each in its turn."""

    def run(listening: socket.socket) -> None:
        for handler in handlers:
            endpoint, _ = listening.accept()
            with endpoint:
                protocol = ServerProtocol()
                while not (events := protocol.events_received()):
                    protocol.receive_data(endpoint.recv(4096))
                assert isinstance(events[0], Request)
                protocol.send_response(protocol.accept(events[0]))
                protocol.send_binary(encode_card(Card(SPEC, cameras=cameras or {})))
                for data in protocol.data_to_send():
                    endpoint.sendall(data)
                handler(endpoint)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=run, args=(listening,))
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


def test_fault_14_a_server_that_stops_reading_does_not_hold_the_client() -> None:
    """More bytes than the sockets take, to somebody who greets and then reads no more."""
    gave_up = threading.Event()

    def stall(endpoint: socket.socket) -> None:
        assert gave_up.wait(WAIT)

    with bare(stall, cameras={"cam": (2048, 2048)}) as url, remote(url) as there:
        there.see({"cam": np.zeros((2048, 2048, 3), np.uint8)})
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(STATE, FIRST)
        gave_up.set()


def test_fault_14_an_answer_that_trickles_in_is_not_waited_for() -> None:
    gave_up = threading.Event()

    def trickle(endpoint: socket.socket) -> None:
        for byte in HALF_A_FRAME:
            endpoint.sendall(bytes([byte]))
        assert gave_up.wait(WAIT)

    with bare(trickle) as url, remote(url) as there:
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(STATE, FIRST)
        gave_up.set()


def test_fault_14_a_connection_that_is_reset_within_a_frame_is_made_again() -> None:
    def reset(endpoint: socket.socket) -> None:
        endpoint.recv(4096)
        endpoint.sendall(HALF_A_FRAME)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset

    def leave(endpoint: socket.socket) -> None:
        endpoint.recv(4096)

    with bare(reset, leave) as url, remote(url) as there:
        there.deadline = 3 * SOON
        with pytest.raises(RemoteError):
            there.next_chunk(STATE, FIRST)


SERVER = """
import sys
from pathlib import Path
from segue.runtime.address import Address
from segue.runtime.server import PolicyServer, serve_until
from served import Affine
serve_until(PolicyServer(Affine(), Address(unix=Path(sys.argv[1]))), (), lambda server: print("ready", flush=True))
"""


def test_faults_1_and_14_a_server_is_killed_three_times_while_a_client_asks(tmp_path: Path) -> None:
    path = tmp_path / "s"

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    process = start()
    try:
        with remote(f"unix:{path}") as there:
            for step in range(3):
                there.next_chunk(STATE, FIRST)
                process.send_signal(signal.SIGKILL)
                process.communicate()
                process = start()
                asked = Continuation(step, FIRST.prefix, 0, 4)
                assert there.next_chunk(STATE, asked)[0, 0] == np.float32(0.25) + step
    finally:
        process.kill()
        process.communicate()


def test_fault_15_a_server_may_not_change_its_policy_under_way() -> None:
    specs = iter((SPEC, replace(SPEC, horizon=9)))

    def changes(connection: ServerConnection) -> None:
        greeted(connection, next(specs))

    with fake(changes) as url, remote(url) as there, pytest.raises(SpecError, match="horizon 9"):
        there.next_chunk(STATE, FIRST)


@pytest.mark.parametrize("url", ["http://localhost", "localhost:8000", "ws://"])
def test_a_url_that_is_none_is_said(url: str) -> None:
    with pytest.raises(SpecError, match="ws://host:port"):
        RemotePolicy(url)


def test_pauses_double_up_to_a_limit_and_are_spread() -> None:
    whole = [pause(failures, 1) for failures in range(1, 9)]
    assert whole == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert [pause(failures, 0) for failures in range(1, 9)] == [each / 2 for each in whole]
    assert pause(10**6, 1) == client_module.LONGEST_PAUSE
