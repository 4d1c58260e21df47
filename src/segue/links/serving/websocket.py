"""The client's end of a websocket: one socket and no thread, so that an answer is read by whoever waits for it.

The protocol itself (handshake, masks, pings, sizes, the order of frames) is that of the package websockets, without its
threads: a hand-over between threads takes longer than a small message does on its way.
"""

import contextlib
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from logging import Logger
from typing import Any, Final

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosedError, InvalidURI
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

_READ: Final = 65536
_SMALL: Final = 4096
_MASK: Final = bytes(4)
"""Masks keep scripts in browsers from writing bytes of their choice past a proxy; this is no browser, and zeros save
a copy of the pictures at both ends."""


class Websocket:
    """Connects, sends and receives whole messages. For one thread.

    A ping is answered with the next message that is received: who asks nothing reads nothing.

    Args:
        url: ``ws://host:port``, ``wss://host:port`` or ``unix:/path``.
        ends: When there must be a connection, by the monotonic clock [s].
        tls: Trusted certificates for ``wss``, unless the system's.
        headers: To send with the request for a connection.
        largest: Bound of a message [bytes].
        log: Where the protocol says what it does.

    Raises:
        InvalidURI, InvalidHandshake: Of the package websockets.
        OSError: Nobody listens, or not in time.
    """

    def __init__(
        self, url: str, ends: float, *, tls: ssl.SSLContext | None, headers: Mapping[str, str], largest: int,
        log: Logger,
    ) -> None:  # fmt: skip
        path = url.removeprefix("unix:") if url.startswith("unix:") else None
        uri = parse_uri("ws://localhost/" if path else url)
        self._messages: deque[bytes | str] = deque()
        self._gathered: bytearray | None = None  # what has come of a message in pieces
        self._text = False
        self._protocol = ClientProtocol(uri, max_size=largest, logger=log)
        self._socket = _connected(uri, path, max(ends - time.monotonic(), 0.001), tls)
        try:
            self._shake_hands(headers, ends)
        except BaseException:
            self.abort()
            raise

    def _shake_hands(self, headers: Mapping[str, str], ends: float) -> None:
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            self._read(ends)
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    def send(self, message: bytes, timeout: float) -> None:
        """Send a message; raises `TimeoutError` where a peer that does not read leaves no room for it."""
        if self._protocol.state is not State.OPEN:
            raise self._closed()
        self._socket.settimeout(timeout)
        ends, size = time.monotonic() + timeout, len(message)
        if size < 126:
            length = bytes([0x80 | size])
        else:
            length = b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
        header = b"\x82" + length + _MASK
        if size < _SMALL or isinstance(self._socket, ssl.SSLSocket):
            self._socket.sendall(header + message)
        elif (sent := self._socket.sendmsg([header, message])) < len(header) + size:
            self._socket.settimeout(max(ends - time.monotonic(), 0.001))
            # a socket that takes something takes the header
            self._socket.sendall(memoryview(message)[sent - len(header) :])

    def recv(self, timeout: float) -> bytes | str:
        """Return the next message; raises `TimeoutError` where none comes [s], or how the connection ended."""
        ends = time.monotonic() + timeout
        while not self._messages:
            if self._protocol.state is not State.OPEN:
                raise self._closed()
            self._read(ends)
        return self._messages.popleft()

    def abort(self) -> None:
        """Close without waiting for a peer that may be gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _closed(self) -> ConnectionClosedError:
        it = self._protocol
        return ConnectionClosedError(it.close_rcvd, it.close_sent, it.close_rcvd_then_sent)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:  # an empty one stands for the end, which the other side will see anyhow
                self._socket.sendall(data)

    def _read(self, ends: float) -> None:
        """Wait for some bytes, and take what they complete."""
        if (remaining := ends - time.monotonic()) <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(remaining)
        data = self._socket.recv(_READ)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
                self._take(event)
        self._flush()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._messages.append(self._whole(frame.data))
                return
            self._gathered = bytearray()
        assert self._gathered is not None  # the protocol sees to the order
        self._gathered += frame.data
        if frame.fin:
            self._messages.append(self._whole(self._gathered))

    def _whole(self, data: Any) -> bytes | str:
        return bytes(data).decode(errors="replace") if self._text else bytes(data)


def _connected(uri: WebSocketURI, path: str | None, timeout: float, tls: ssl.SSLContext | None) -> socket.socket:
    """Open the socket below."""
    if path is not None:
        plain = socket.socket(socket.AF_UNIX)
        try:
            plain.settimeout(timeout)
            plain.connect(path)
        except BaseException:
            plain.close()
            raise
        return plain
    if tls is not None and not uri.secure:
        raise InvalidURI(uri.host, "certificates are for wss://")
    plain = socket.create_connection((uri.host, uri.port), timeout)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not uri.secure:
            return plain
        return (tls or ssl.create_default_context()).wrap_socket(plain, server_hostname=uri.host)
    except BaseException:
        plain.close()
        raise
