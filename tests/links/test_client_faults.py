"""The client when its server is wrong, silent, slow or gone: one clear error, and never another request's answer."""

import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.frames import Frame
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection

from fakes.served_policies import SPEC, WAIT, Affine, openpi_array, openpi_frame, openpi_read
from fakes.servers import FIRST, SOON, STATE, bare, fake, greeted, remote, reply, served
from segue.core.chunk import Continuation
from segue.core.observation import Observation
from segue.errors import RemoteError, SpecError, WireError
from segue.links import messages
from segue.links.address import Address
from segue.links.card import Card, encode_card
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
from segue.plan.plan import Handover


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


def test_fault_8_a_server_that_comes_back_with_chunks_that_take_over_otherwise_is_refused() -> None:
    """The plan was made for those from before."""
    cards = iter([Card(SPEC), Card(SPEC, handover=Handover.WAIT)])

    def other(connection: ServerConnection) -> None:
        connection.send(encode_card(next(cards)))
        connection.recv(timeout=WAIT)  # and hangs up

    with (
        fake(other) as url,
        remote(url) as there,
        pytest.raises(SpecError, match=r"'wait' by now.*\n.*'continue', as before"),
    ):
        there.next_chunk(STATE, FIRST)


BEFORE = Card(SPEC, "pour-tea", "aaaa")


@pytest.mark.parametrize(
    ("by_now", "said"),
    [
        (replace(BEFORE, hash="bbbb"), r"'pour-tea' of hash 'bbbb' by now\n.*'pour-tea' of hash 'aaaa', as before"),
        (replace(BEFORE, model="fold-cloth"), "'fold-cloth' of hash 'aaaa' by now"),
        (replace(BEFORE, hash=""), "of hash '' by now"),
        (None, "does not say what it serves"),
    ],
)
def test_server_swap_one_that_comes_back_with_other_weights_is_refused(by_now: Card | None, said: str) -> None:
    cards = iter([BEFORE, by_now])

    def other(connection: ServerConnection) -> None:
        card = next(cards)
        connection.send(openpi_frame({}) if card is None else encode_card(card))
        connection.recv(timeout=WAIT)  # and hangs up

    with fake(other) as url, remote(url) as there, pytest.raises(SpecError, match=said):
        there.next_chunk(STATE, FIRST)


def test_server_swap_one_that_said_nothing_may_not_come_back_as_one_of_segue() -> None:
    greetings = iter([openpi_frame({}), encode_card(BEFORE)])

    def other(connection: ServerConnection) -> None:
        connection.send(next(greetings))
        connection.recv(timeout=WAIT)

    with (
        fake(other) as url,
        remote(url, spec=SPEC) as there,
        pytest.raises(SpecError, match="a server of Segue by now"),
    ):
        there.next_chunk(STATE, FIRST)


@pytest.mark.parametrize("swaps", [1, pytest.param(30, marks=pytest.mark.faults)])
def test_server_swap_under_way_never_is_another_policys_chunk_taken(swaps: int) -> None:
    """The same server goes and comes on one port; the last time it is another's, with the same robot."""
    with served(Affine(), model="a", hash="1") as server:
        address = Address(port=int(server.url.rsplit(":", 1)[1]))
        there = RemotePolicy(server.url, deadline=WAIT, patience=WAIT)
        expected = there.next_chunk(STATE, FIRST)
    for _ in range(swaps):
        with running(PolicyServer(Affine(), address, model="a", hash="1")):
            assert np.array_equal(there.next_chunk(STATE, FIRST), expected)
    other = Affine()
    with running(PolicyServer(other, address, model="a", hash="2")):
        for _ in range(3):
            with pytest.raises(SpecError, match="by now"):
                there.next_chunk(STATE, FIRST)
    assert other.asked == []
    there.close()


def test_a_flooded_connection_that_is_dropped_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def flood(connection: ServerConnection) -> None:
        number = greeted(connection)["segue/id"]
        while True:
            connection.send(messages.refusal("superseded", identity=number + 1))

    with fake(flood) as url, remote(url) as there:
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(STATE, FIRST)
    ours = [each for each in caplog.records if "client" in each.name]
    assert ours == []


def test_who_does_not_answer_in_time_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RemoteError) as caught:
        RemotePolicy(f"ws://127.0.0.1:{silent.getsockname()[1]}", patience=SOON)
    assert caught.value.got.endswith(": no answer in time")


def test_fault_14_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(RemoteError, match="no server"):
        RemotePolicy(url, patience=SOON)


def test_fault_14_somebody_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RemoteError, match="no server"):
        RemotePolicy(f"ws://127.0.0.1:{silent.getsockname()[1]}", patience=SOON)


def test_fault_14_a_server_that_stops_reading_does_not_hold_the_client() -> None:
    """More bytes than the sockets take, to somebody who greets and then reads no more."""
    gave_up = threading.Event()

    def stall(*_: object) -> None:
        assert gave_up.wait(WAIT)

    with bare(stall, cameras={"cam": (2048, 2048)}) as url, remote(url) as there:
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(Observation(STATE, {"cam": np.zeros((2048, 2048, 3), np.uint8)}), FIRST)
        gave_up.set()


def test_fault_14_an_answer_that_trickles_in_is_not_waited_for() -> None:
    gave_up = threading.Event()

    def trickle(endpoint: socket.socket, _: ServerProtocol) -> None:
        for byte in HALF_A_FRAME:
            endpoint.sendall(bytes([byte]))
        assert gave_up.wait(WAIT)

    with bare(trickle) as url, remote(url) as there:
        there.deadline = SOON
        with pytest.raises(RemoteError, match="no answer"):
            there.next_chunk(STATE, FIRST)
        gave_up.set()


def test_fault_14_a_connection_that_is_reset_within_a_frame_is_made_again() -> None:
    def reset(endpoint: socket.socket, _: ServerProtocol) -> None:
        endpoint.recv(4096)
        endpoint.sendall(HALF_A_FRAME)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset

    def answer(endpoint: socket.socket, protocol: ServerProtocol) -> None:
        while not (events := protocol.events_received()):
            protocol.receive_data(endpoint.recv(4096))
        assert isinstance(events[0], Frame)
        protocol.send_binary(reply(6, openpi_read(bytes(events[0].data))["segue/id"]))
        for data in protocol.data_to_send():
            endpoint.sendall(data)

    with bare(reset, answer) as url, remote(url) as there:
        assert there.next_chunk(STATE, FIRST)[0, 0] == 6


SERVER = """
import sys
from pathlib import Path
from segue.links.address import Address
from segue.links.server import PolicyServer, serve_until
from fakes.served_policies import Affine
serve_until(PolicyServer(Affine(), Address(unix=Path(sys.argv[1]))), (), lambda server: print("ready", flush=True))
"""


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.faults)])
def test_faults_1_and_14_a_server_is_killed_again_and_again_while_a_client_asks(tmp_path: Path, kills: int) -> None:
    path = tmp_path / "s"

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    process = start()
    try:
        with remote(f"unix:{path}") as there:
            for step in range(kills):
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
