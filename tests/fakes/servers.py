"""Servers to connect to in tests: ours, somebody else's, and bare sockets; and a client that is closed in the end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from fakes.served_policies import SPEC, WAIT, openpi_frame, openpi_read
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Cameras
from segue.core.spec import PolicySpec
from segue.links.address import Address
from segue.links.card import Card, encode_card
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running

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


def greeted(connection: ServerConnection, spec: PolicySpec = SPEC) -> dict[str, Any]:
    """Greet a client as a Segue server does, and take its request."""
    connection.send(encode_card(Card(spec)))
    frame = connection.recv(timeout=WAIT)
    assert isinstance(frame, bytes)
    return openpi_read(frame)


def reply(value: float, number: int | None) -> bytes:
    frame: dict[str, Any] = {"actions": np.full((8, 2), value, np.float32)}
    return openpi_frame(frame if number is None else frame | {"segue/id": number})


@contextmanager
def bare(*handlers: Callable[[socket.socket, ServerProtocol], None], cameras: Cameras | None = None) -> Iterator[str]:
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
                protocol.send_binary(encode_card(Card(replace(SPEC, cameras=cameras or {}))))
                for data in protocol.data_to_send():
                    endpoint.sendall(data)
                handler(endpoint, protocol)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(WAIT)
        thread = threading.Thread(target=run, args=(listening,), daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()
