"""A chunk policy behind a websocket, for clients of Segue and of openpi.

    client A  --frames-->  newest  --+
    client B  --frames-->  newest  --+-- one turn each --> one thread: next_chunk --> back to the client
                             |                                        chunks, where a policy answers several at once
                             older ones are refused: superseded

The event loop reads, checks and answers pings and ``/healthz``; inference has a thread of its own, so that neither a
long inference nor a slow client keeps the others waiting. Of each client only the newest request waits: an answer to
an older one would be of no use to a robot.

A peer is believed nothing (`segue.links.frames`), chooses nothing (no path, checkpoint, class or device), and is told
nothing but short codes, and what is wrong with the shape or the numbers of an answer; the rest is in the log.

Nor does one cost the others anything: after each message the others have their turn, who sends `MOST_REFUSED` messages
in a row that cannot be accepted is disconnected, and what happens over and over is in the log once a second.

How many robots a policy can be shared by is measured (`segue.links.serving.capacity`): one too many is told so, with
the numbers. Connections that ask nothing are no robots.

A policy with a memory serves one client at a time: a second one would share its episode, see `is_stateless`.
"""

import asyncio
import contextlib
import errno
import hmac
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import inf
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, cast

from websockets import ConnectionClosed
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.http11 import Request, Response

from segue.core.chunk import ChunkPolicy, Gathering, is_stateless
from segue.errors import SpecError, WireError
from segue.links import frames, messages
from segue.links.address import Address
from segue.links.card import Card, encode_card
from segue.links.floods import BoundedConnection, Sparing
from segue.links.messages import Question
from segue.links.serving import loops
from segue.links.serving.answers import Answers, Asked, Replied, together
from segue.links.serving.capacity import Capacity
from segue.links.serving.turns import Turns
from segue.plan.plan import Handover

MAX_CLIENTS: Final = 16
"""Connections at a time, where it is not known how many robots a policy carries."""
_MOST_CLIENTS: Final = 1024
MOST_AT_ONCE: Final = 32
"""Questions that are answered in one call."""
WAIT: Final = 0.002
MOST_REFUSED: Final = 16
"""Messages in a row that cannot be accepted, after which the connection is closed."""
_OPEN_TIMEOUT: Final = 10.0
_CLOSE_TIMEOUT: Final = 1.0
_GONE: Final = 20.0

_log = logging.getLogger("segue.server")
_connections = logging.getLogger("segue.server.connections")
_connections.setLevel(logging.CRITICAL)  # that strangers send nonsense is no news


@dataclass(eq=False)
class _Client:
    """A connection, and what its server knows of it."""

    connection: BoundedConnection
    forget: bool = False
    """Whether the policy is reset before its next answer."""
    told: bool = False
    """Whether it is told of that: it has asked for it."""
    refused: int = 0
    """Messages in a row that could not be accepted."""
    asked: float | None = None
    """When it asked last; None for one that never did, which counts for no robot."""


_Job = tuple[Sequence[_Client], Sequence[Asked]]


def _give_up_on_the_gone(connection: ServerConnection) -> None:
    """Let the system end a connection whose peer's machine has not confirmed anything for a while."""
    if not isinstance(connection.local_address, str) and hasattr(socket, "TCP_USER_TIMEOUT"):
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1e3 * _GONE))


def _is_served(path: Path) -> bool:
    """Tell whether somebody listens on a Unix socket, other than one that a killed server left behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CLOSE_TIMEOUT)
        return probe.connect_ex(str(path)) not in (errno.ENOENT, errno.ECONNREFUSED)


class PolicyServer:
    """Serves a policy, between ``async with``.

    Args:
        policy: Answers; only ever called from one thread. One that does not say that it is stateless serves one
            client at a time, and is reset for each.
        address: Where to listen.
        model: Its name, for people.
        hash: Hash of its weights.
        handover: How its chunks take over; clients are told.
        max_clients: Connections at a time; four for each robot that it carries, and at least 16, unless given.
        max_frame: Bytes of a message.
        capacity: How many robots it can carry; without it as many as connect.
        wait: Longest time that a question waits for those of others, where the policy answers several at once [s].
    """

    def __init__(
        self, policy: ChunkPolicy, address: Address | None = None, *, model: str = "", hash: str = "",
        handover: Handover = Handover.CONTINUE, max_clients: int | None = None, max_frame: int = frames.MAX_FRAME,
        capacity: Capacity | None = None, wait: float = WAIT,
    ) -> None:  # fmt: skip
        self.policy, self.address = policy, address or Address()
        self.card = Card(policy.spec, model, hash, handover)
        self.max_frame = min(max_frame, frames.LARGEST_FRAME)
        self.stateless = is_stateless(policy)
        room = MAX_CLIENTS if capacity is None else min(max(4 * capacity.robots, MAX_CLIENTS), _MOST_CLIENTS)
        self.max_clients = (max_clients or room) if self.stateless else 1
        self._say = Sparing(_log)
        self._answers = Answers(policy, self._say)
        self.capacity = capacity
        most = MOST_AT_ONCE if self.stateless and isinstance(policy, Gathering) else 1
        self._turns = Turns[_Client, Question | None](most, wait if most > 1 else 0.0, together)
        self._robots = 0
        self._later: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._server: Server | None = None

    async def __aenter__(self) -> "PolicyServer":
        self._jobs = SimpleQueue[_Job | None]()
        self._thread = threading.Thread(target=self._work, args=(asyncio.get_running_loop(),), name="inference")
        self._thread.start()
        # A browser sends an Origin: no web page may command a robot through the machine that it is looked at on.
        how: dict[str, Any] = {
            "process_request": self._admit, "origins": [None], "compression": None, "server_header": None,
            "open_timeout": _OPEN_TIMEOUT, "close_timeout": _CLOSE_TIMEOUT, "max_size": self.max_frame,
            "max_queue": 2, "logger": _connections, "ssl": self.address.tls,
            "create_connection": partial(BoundedConnection, say=self._say, largest=self.max_frame),
            # Clients answer pings when they read, which is when they ask: who is gone is found out by the system.
            "ping_timeout": None,
        }  # fmt: skip
        try:
            self._server = await self._listen(how)
        except OSError as error:
            self._stop_thread()
            where = self.address.unix or f"{self.address.host}, port {self.address.port}"
            change = "stop what listens there, or take another"
            raise SpecError(f"to listen on {where}: {error}", "a free address of this machine", change) from error
        return self

    async def _listen(self, how: Mapping[str, Any]) -> Server:
        if self.address.unix is None:
            return await serve(self._client, self.address.host, self.address.port, **how)
        if _is_served(self.address.unix):
            raise OSError("another server listens there")
        mask = os.umask(0o177)  # for processes of this user only, from the start
        try:
            return await unix_serve(self._client, str(self.address.unix), **how)
        finally:
            os.umask(mask)

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        if self.address.unix is not None:
            self.address.unix.unlink(missing_ok=True)
        self._stop_thread()

    def _stop_thread(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    @property
    def url(self) -> str:
        """Address at which clients find it."""
        assert self._server is not None
        if self.address.unix is not None:
            return f"unix:{self.address.unix}"
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{'wss' if self.address.tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer the health check; turn away who has no token, and who is one too many."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self.address.token is not None:
            given = "\n".join(request.headers.get_all("Authorization"))
            expected = f"Api-Key {self.address.token}"
            if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
                return connection.respond(HTTPStatus.UNAUTHORIZED, "unauthorized\n")
        if self._server is not None and len(self._server.connections) >= self.max_clients:
            why = "" if self.stateless else ": this policy has a memory, and serves one client at a time"
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"busy{why}\n")
        if self.capacity is not None and (full := self.capacity.refusal(self._robots)) is not None:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"busy: {full}\n")
        _give_up_on_the_gone(connection)
        return None

    async def _client(self, connection: ServerConnection) -> None:
        """Serve one client, from its greeting until it is gone."""
        bounded = cast("BoundedConnection", connection)
        client = _Client(bounded, forget=not self.stateless)  # who was here before is forgotten
        try:
            await connection.send(encode_card(self.card))
            bounded.hear = partial(self._hear, client)
            async for frame in connection:
                if (reply := self._hear(client, frame)) is not None:
                    await connection.send(reply)
                if client.refused >= MOST_REFUSED:
                    break
                if bounded.in_a_row:
                    await asyncio.sleep(0)  # frames that are there already are handed over without a pause
        except ConnectionClosed:
            pass
        finally:
            self._turns.forget(client)
            self._robots -= client.asked is not None

    def _hear(self, client: _Client, frame: bytes | str) -> str | None:
        """Take a message, and return the refusal that could not be sent at once, if any."""
        accepted, reply = self._take(frame, client)
        if reply is not None and client.connection.send_now(reply):
            reply = None
        client.refused = 0 if accepted else client.refused + 1
        if client.refused == MOST_REFUSED:
            self._say.tell("closed a connection", f"{MOST_REFUSED} messages in a row were refused")
            client.connection.transport.abort()  # a farewell would be waited for, and more be read meanwhile
        return reply

    def _take(self, frame: bytes | str, client: _Client) -> tuple[bool, str | None]:
        """Take a message; return whether it can be accepted, and the refusal to tell the client, if any."""
        try:
            found = frames.entries(frame, limit=self.max_frame)
            question = None if messages.is_reset(found) else messages.decode_question(found, self.card)
        except WireError as error:
            self._say.tell("refused a message", f"{error.code}: {error.got}")
            return False, messages.refusal(error.code, error.field)
        now = time.monotonic()
        if question is None:
            client.forget = client.told = True
        elif (full := self._counted(client, now)) is not None:
            return True, messages.refusal("busy", identity=question.id, cause=full)
        replaced = self._turns.ask(client, question, now)
        self._go_on()
        return True, None if replaced is None else messages.refusal("superseded", identity=replaced.id)

    def _counted(self, client: _Client, now: float) -> str | None:
        """Count a client that asks as a robot, or return why there is no room for one more."""
        before, capacity = client.asked, self.capacity
        if before is None:
            if capacity is not None and (full := capacity.refusal(self._robots)) is not None:
                return full
            self._robots += 1
        elif capacity is not None:
            capacity.asked(now - before)
        client.asked = now
        return None

    def _go_on(self) -> None:
        """Begin the next batch if it is due, and look again when it will be."""
        now, due = time.monotonic(), self._turns.due(self._robots)
        if due == inf:
            return
        if due > now:
            if self._later is None:
                self._later = asyncio.get_running_loop().call_later(due - now, self._woken)
            return
        batch = self._turns.take()
        asked = [Asked(question, client.forget, arrived) for client, question, arrived in batch]
        for client, _, _ in batch:
            client.forget = False
        self._jobs.put(([client for client, _, _ in batch], asked))

    def _woken(self) -> None:
        self._later = None
        self._go_on()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer one batch after the other. In the thread of the policy."""
        while (job := self._jobs.get()) is not None:
            started, replies = time.monotonic(), list[Replied]()
            try:
                replies = self._answers.to(job[1])
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has been closed, for nobody waits any more
                    loop.call_soon_threadsafe(self._done, *job, replies, time.monotonic() - started)

    def _done(self, clients: Sequence[_Client], asked: Sequence[Asked], replies: Sequence[Replied], s: float) -> None:
        """Send what came of a batch, after the next has begun."""
        self._turns.done()
        if self.capacity is not None:
            self.capacity.answered(len(clients), s)
        for client, each, replied in zip(clients, asked, replies, strict=False):
            client.forget = client.forget or not replied.ready  # with the next question, again
            said = []
            if each.forget and replied.ready and client.told:
                client.told = client.forget
                said.append(messages.RESET)
            if replied.reply is not None:
                said.append(replied.reply)
            self._send(client, said)
        self._go_on()

    def _send(self, client: _Client, said: list[bytes | str]) -> None:
        """Send without waiting; who does not take it is waited for, and has no turn meanwhile."""
        while said and client.connection.send_now(said[0]):
            del said[0]
        if said:
            self._turns.hold(client)
            sending = asyncio.create_task(self._send_later(client, said))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _send_later(self, client: _Client, said: Sequence[bytes | str]) -> None:
        with contextlib.suppress(ConnectionClosed):
            for each in said:
                await client.connection.send(each)
        self._turns.release(client)
        self._go_on()


async def _serve(server: PolicyServer, stop: asyncio.Event, ready: Callable[[PolicyServer], None]) -> None:
    async with server:
        ready(server)
        await stop.wait()


def serve_until(server: PolicyServer, signals: tuple[int, ...], ready: Callable[[PolicyServer], None]) -> None:
    """Serve until one of the signals arrives; an inference under way is waited for, unless another one arrives.

    The server must not have been started; ``ready`` is called once it listens.
    """

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            stop.set()
            for number in signals:  # the next one is the system's: this loop may wait for a policy that hangs
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)

        for number in signals:
            loop.add_signal_handler(number, end)
        await _serve(server, stop, ready)

    loops.run(run())


@contextlib.contextmanager
def running(server: PolicyServer) -> Iterator[PolicyServer]:
    """Serve in a thread of this process as long as the block lasts: for notebooks, tests and simulation."""
    started, stop = threading.Event(), asyncio.Event()
    problem, served_on = list[BaseException](), list[asyncio.AbstractEventLoop]()

    async def main() -> None:
        served_on.append(asyncio.get_running_loop())
        await _serve(server, stop, lambda _: started.set())

    def run() -> None:
        try:
            loops.run(main())
        except BaseException as error:
            problem.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="policy-server")
    thread.start()
    started.wait()
    if problem:
        thread.join()
        raise problem[0]
    try:
        yield server
    finally:
        served_on[0].call_soon_threadsafe(stop.set)
        thread.join()
