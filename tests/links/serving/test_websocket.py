"""The client's end of a websocket, against a server of the package websockets."""

import logging
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from fakes.served_policies import WAIT
from fakes.servers import fake
from segue.links.serving.websocket import Websocket

LOG = logging.getLogger("segue.client.connections")


def connected(url: str, largest: int = 1 << 20) -> Websocket:
    return Websocket(url, time.monotonic() + WAIT, tls=None, headers={"X-Test": "1"}, largest=largest, log=LOG)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4095, 4096, 65535, 65536, 1 << 20])
def test_messages_of_all_sizes_come_back_as_they_were(size: int) -> None:
    message = bytes(range(256)) * (size // 256 + 1)
    with fake(echo) as url:
        there = connected(url)
        there.send(message[:size], WAIT)
        assert there.recv(WAIT) == message[:size]
        there.abort()


def test_a_message_in_fragments_is_one_and_text_is_text() -> None:
    def speak(connection: ServerConnection) -> None:
        connection.send([b"one ", b"", b"message"])
        connection.send("grüße")
        connection.send(["two ", "parts"])
        connection.recv(timeout=WAIT)

    with fake(speak) as url:
        there = connected(url)
        assert [there.recv(WAIT) for _ in range(3)] == [b"one message", "grüße", "two parts"]
        there.abort()


def test_a_ping_is_answered_with_the_next_message() -> None:
    answered = []

    def ping(connection: ServerConnection) -> None:
        pong = connection.ping()
        connection.send(b"read me")
        answered.append(pong.wait(WAIT))
        connection.send(b"thanks")

    with fake(ping) as url:
        there = connected(url)
        assert there.recv(WAIT) == b"read me"
        assert there.recv(WAIT) == b"thanks"
        assert answered == [True]
        there.abort()


def test_nothing_in_time_is_a_timeout_and_the_connection_is_as_it_was() -> None:
    with fake(echo) as url:
        there = connected(url)
        for patience in (0.0, 0.01):
            with pytest.raises(TimeoutError):
                there.recv(patience)
        there.send(b"still there?", WAIT)
        assert there.recv(WAIT) == b"still there?"
        there.abort()


@pytest.mark.parametrize("code", [1000, 1011])
def test_what_was_said_before_the_end_is_heard_and_then_the_end(code: int) -> None:
    def leave(connection: ServerConnection) -> None:
        connection.send(b"last words")
        connection.close(code)

    with fake(leave) as url:
        there = connected(url)
        assert there.recv(WAIT) == b"last words"
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as ended:
                there.recv(WAIT)
            assert ended.value.rcvd is not None
            assert ended.value.rcvd.code == code
        with pytest.raises(ConnectionClosed):
            there.send(b"too late", WAIT)
        there.abort()  # or the server waits for it


def test_a_message_beyond_the_bound_is_not_read() -> None:
    def speak(connection: ServerConnection) -> None:
        connection.send(bytes(2000))
        connection.recv(timeout=WAIT)

    with fake(speak) as url:
        there = connected(url, largest=1999)
        with pytest.raises(ConnectionClosed) as ended:
            there.recv(WAIT)
        assert ended.value.sent is not None
        assert ended.value.sent.code == 1009
        there.abort()


def test_who_turns_us_away_may_say_why() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        assert request.headers["X-Test"] == "1"
        return connection.respond(503, "full\n")

    with serve(echo, "127.0.0.1", 0, process_request=refuse) as server:
        import threading

        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with pytest.raises(InvalidStatus) as refused:
            connected(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        server.shutdown()
        thread.join()
    assert refused.value.response.body == b"full\n"
