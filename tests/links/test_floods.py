"""Messages are taken out of the stream whole or in pieces, and what is wrong ends as the package websockets ends it."""

import sys
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from fakes.served_policies import WAIT, Affine, openpi_frame
from fakes.servers import STATE, served
from segue.links import floods
from segue.links.address import Address
from segue.links.server import MOST_REFUSED, PolicyServer, running


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both event loops that a server may run on, where both are installed."""
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop")


def question(padding: int) -> bytes:
    return openpi_frame({"state": STATE, "prompt": "x" * padding})


def heard(to: PolicyServer, data: bytes, pieces: int, answers: int) -> list[str | bytes]:
    """What a server says to bytes that come in so many pieces, up to its last answer or the end."""
    with connect(to.url, compression=None, proxy=None, close_timeout=0.1, ping_interval=None) as connection:
        connection.recv(timeout=WAIT)
        found: list[str | bytes] = []
        size = -(-len(data) // pieces)
        with suppress(ConnectionClosed):
            for start in range(0, len(data), size):
                connection.socket.sendall(data[start : start + size])
            found += [connection.recv(timeout=WAIT) for _ in range(answers)]
        return found


@pytest.mark.parametrize("padding", [0, 10, 125, 70_000, 300_000])
@pytest.mark.parametrize("pieces", [1, 2, 5, 100])
def test_a_message_of_any_size_in_any_pieces_is_the_same_message(padding: int, pieces: int) -> None:
    whole = Frame(Opcode.BINARY, question(padding)).serialize(mask=True)
    with served(Affine()) as it:
        [answer] = heard(it, whole, pieces, 1)
    assert isinstance(answer, bytes)
    assert b"actions" in answer


@pytest.mark.parametrize("most", [0, 2, 64])
def test_what_trickles_in_is_kept_in_one_piece_however_many_there_were(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floods, "_MOST_PARTS", max(most, 1))
    whole = Frame(Opcode.BINARY, question(500)).serialize(mask=True)
    with served(Affine()) as it:
        [answer] = heard(it, whole, len(whole), 1)
    assert isinstance(answer, bytes)


def test_messages_around_a_ping_and_one_in_fragments_are_each_answered() -> None:
    asked, half = question(50), len(question(50)) // 2
    frames = [
        Frame(Opcode.BINARY, asked),
        Frame(Opcode.PING, b"there?"),
        Frame(Opcode.BINARY, asked[:half], fin=False),
        Frame(Opcode.CONT, asked[half:]),
        Frame(Opcode.TEXT, b"hello"),
        Frame(Opcode.BINARY, b"\xc1" * 30),
    ]
    with served(Affine()) as it:
        found = heard(it, b"".join(each.serialize(mask=True) for each in frames), 1, 4)
        # newest wins: of the two questions one may have been overtaken; text and garbage are refused
        assert sum(b"actions" in each for each in found if isinstance(each, bytes)) >= 1
        assert sum("malformed" in each for each in found if isinstance(each, str)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        Frame(Opcode.BINARY, b"x" * 200).serialize(mask=False),  # clients mask
        Frame(Opcode.CONT, b"x" * 200).serialize(mask=True),  # of what?
        b"\xc2\xfe\x00\xc8" + bytes(204),  # a reserved bit
        b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(20),  # longer than anything that is taken
        b"\x82\xff" + (1 << 63).to_bytes(8, "big") + bytes(20),
    ],
)
def test_what_is_no_message_ends_its_connection_and_no_other(wrong: bytes) -> None:
    good = Frame(Opcode.BINARY, question(50)).serialize(mask=True)
    with served(Affine()) as it:
        assert heard(it, wrong, 1, 1) == []
        assert len(heard(it, good, 1, 1)) == 1


def test_the_first_of_those_that_come_at_once_is_heard_at_once_and_the_others_in_their_order() -> None:
    """A task would have heard all of them after the bytes had been read."""
    whole = Frame(Opcode.BINARY, question(5)).serialize(mask=True)
    order: list[str] = []

    class Told(floods.BoundedConnection):
        def _hand_over(self, message: bytes) -> None:
            super()._hand_over(message)
            order.append("handed over")

    class Listening(PolicyServer):
        def _hear(self, client: Any, frame: bytes | str) -> str | None:
            order.append("heard")
            return super()._hear(client, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segue.links.server.BoundedConnection", Told)
        with running(Listening(Affine(), Address(port=0))) as it:
            heard(it, 3 * whole, 1, 3)
    assert order == ["heard", "handed over", "handed over", "handed over", "heard", "heard"]


def test_who_is_refused_at_once_is_disconnected_after_as_many_as_ever() -> None:
    with served(Affine()) as it, connect(it.url, compression=None, proxy=None, close_timeout=0.1) as connection:
        connection.recv(timeout=WAIT)
        for _ in range(MOST_REFUSED):
            connection.send(b"\xc1" * 30)
            with suppress(ConnectionClosed):
                assert "malformed" in str(connection.recv(timeout=WAIT))
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=WAIT)
