"""A chunk policy behind a websocket, for clients of Segue and of openpi.

    client A  --frames-->  newest  --+
    client B  --frames-->  newest  --+-- one turn each --> one thread: next_chunk --> back to the client
                             |
                             older ones are refused: superseded

The event loop reads, checks and answers pings and ``/healthz``; inference has a thread of its own, so that neither a
long inference nor a slow client keeps the others waiting. Of each client only the newest request waits: an answer to
an older one would be of no use to a robot.

A peer is believed nothing (`segue.links.frames`), chooses nothing (no path, checkpoint, class or device), and is told
nothing but short codes, and what is wrong with the shape or the numbers of an answer; the rest is in the log.

Nor does one cost the others anything: after each message the others have their turn, who sends `MOST_REFUSED` messages
in a row that cannot be accepted is disconnected, and what happens over and over is in the log once a second.

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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from websockets import ConnectionClosed
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.http11 import Request, Response

from segue.core.chunk import ChunkPolicy, is_stateless, surprise_of
from segue.core.observation import Cameras, Observation, Observed
from segue.errors import SegueError, SpecError, WireError
from segue.links import frames, jpeg, messages
from segue.links.address import Address
from segue.links.card import Card, encode_card
from segue.links.floods import BoundedConnection, Sparing
from segue.links.messages import Question
from segue.plan.plan import Handover

MAX_CLIENTS: Final = 16
MOST_REFUSED: Final = 16
"""Messages in a row that cannot be accepted, after which the connection is closed."""
_OPEN_TIMEOUT: Final = 10.0
_CLOSE_TIMEOUT: Final = 1.0

_log = logging.getLogger("segue.server")
_connections = logging.getLogger("segue.server.connections")
_connections.setLevel(logging.CRITICAL)  # that strangers send nonsense is no news


class _Newest:
    """Holds what a client waits for: at most one question, and whether to reset before it."""

    def __init__(self) -> None:
        self.question: Question | None = None
        self.reset = False
        self.arrived = 0.0
        self.something = asyncio.Event()

    def ask(self, question: Question) -> Question | None:
        """Put a question in, and return the one that it replaces."""
        before, self.question, self.arrived = self.question, question, time.monotonic()
        self.something.set()
        return before

    def forget(self) -> Question | None:
        """Put a reset in, and return the question that it replaces."""
        before, self.question, self.reset = self.question, None, True
        self.something.set()
        return before

    def take(self) -> tuple[bool, Question | None, float]:
        """Take out whether to reset, the question, and when it arrived."""
        taken = self.reset, self.question, self.arrived
        self.reset, self.question = False, None
        self.something.clear()
        return taken


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
        max_clients: Connections at a time.
        max_frame: Bytes of a message.
    """

    def __init__(
        self, policy: ChunkPolicy, address: Address | None = None, *, model: str = "", hash: str = "",
        handover: Handover = Handover.CONTINUE, max_clients: int = MAX_CLIENTS, max_frame: int = frames.MAX_FRAME,
    ) -> None:  # fmt: skip
        self.policy, self.address = policy, address or Address()
        self.card = Card(policy.spec, model, hash, handover)
        self.max_frame = min(max_frame, frames.LARGEST_FRAME)
        self.stateless = is_stateless(policy)
        self.max_clients = max_clients if self.stateless else 1
        self._turn = asyncio.Lock()
        self._say = Sparing(_log)
        self._server: Server | None = None

    async def __aenter__(self) -> "PolicyServer":
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        # A browser sends an Origin: no web page may command a robot through the machine that it is looked at on.
        how: dict[str, Any] = {
            "process_request": self._admit, "origins": [None], "compression": None, "server_header": None,
            "open_timeout": _OPEN_TIMEOUT, "close_timeout": _CLOSE_TIMEOUT, "max_size": self.max_frame,
            "max_queue": 2, "logger": _connections, "ssl": self.address.tls,
            "create_connection": partial(BoundedConnection, say=self._say),
        }  # fmt: skip
        try:
            self._server = await self._listen(how)
        except OSError as error:
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
        self._thread.shutdown(cancel_futures=True)

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
        return None

    async def _client(self, connection: ServerConnection) -> None:
        """Serve one client, from its greeting until it is gone."""
        newest, refused = _Newest(), 0
        if not self.stateless:  # forget whoever was here before
            async with self._turn:
                newest.reset = not await asyncio.get_running_loop().run_in_executor(self._thread, self._reset)
        answering = asyncio.create_task(self._answer(connection, newest))
        try:
            await connection.send(encode_card(self.card))
            async for frame in connection:
                accepted, reply = self._take(frame, newest)
                if reply is not None:
                    await connection.send(reply)
                refused = 0 if accepted else refused + 1
                if refused == MOST_REFUSED:
                    self._say.tell("closed a connection", f"{MOST_REFUSED} messages in a row were refused")
                    connection.transport.abort()  # a farewell would be waited for, and more be read meanwhile
                    break
                await asyncio.sleep(0)  # frames that are there already are handed over without a pause
        except ConnectionClosed:
            pass
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    def _take(self, frame: bytes | str, newest: _Newest) -> tuple[bool, str | None]:
        """Take a message; return whether it can be accepted, and the refusal to tell the client, if any."""
        try:
            found = frames.entries(frame, limit=self.max_frame)
            if messages.is_reset(found):
                replaced = newest.forget()
            else:
                replaced = newest.ask(messages.decode_question(found, self.card))
        except WireError as error:
            self._say.tell("refused a message", f"{error.code}: {error.got}")
            return False, messages.refusal(error.code, error.field)
        return True, None if replaced is None else messages.refusal("superseded", identity=replaced.id)

    async def _answer(self, connection: ServerConnection, newest: _Newest) -> None:
        """Answer a client's newest question, again and again, when it is this client's turn."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await newest.something.wait()
                async with self._turn:
                    reset, question, arrived = newest.take()
                    ready, reply = True, None
                    if reset:
                        ready = await loop.run_in_executor(self._thread, self._reset)
                        newest.reset = newest.reset or not ready  # with the next question, again
                    if question is not None and ready:
                        reply = await loop.run_in_executor(self._thread, self._infer, question, arrived)
                    elif question is not None:
                        reply = messages.refusal("policy-failed", identity=question.id, cause="it cannot be reset")
                if reset and ready:
                    await connection.send(messages.RESET)
                if reply is not None:
                    await connection.send(reply)

    def _reset(self) -> bool:
        """Let the policy forget the last episode, and tell whether it did."""
        try:
            self.policy.reset()
        except Exception:
            self._say.tell("the policy failed to reset", traceback=True)
            return False
        return True

    def _infer(self, question: Question, arrived: float) -> bytes | str:
        """Make an answer, or say why there is none. In the thread of the policy."""
        started = time.monotonic()
        if question.deadline is not None and started - arrived > question.deadline:
            return messages.refusal("expired", identity=question.id)
        try:
            observed = _observed(question, self.card.spec.cameras)
        except WireError as error:
            self._say.tell("refused a picture", error.got)
            return messages.refusal(error.code, error.field, question.id, error.got)
        except Exception:
            self._say.tell("pictures cannot be decoded", traceback=True)
            return messages.refusal("refused", identity=question.id)
        try:
            actions = self.policy.next_chunk(observed, question.continuation)
            done = time.monotonic()
            timing = {"infer_ms": 1e3 * (done - started), "wait_ms": 1e3 * (started - arrived)}
            return messages.encode_answer(actions, question, self.card.spec, timing, surprise_of(self.policy))
        except WireError as error:
            cause = f"{error.got}; expected: {error.expected}"
            self._say.tell("the policy answers what cannot be sent", cause)
            return messages.refusal("bad-answer", error.field, question.id, cause)
        except Exception as error:
            code = "refused" if isinstance(error, SegueError) else "policy-failed"
            self._say.tell(f"{code} by the policy", traceback=True)
            return messages.refusal(code, identity=question.id)


def _observed(question: Question, cameras: Cameras) -> Observed:
    """Return the observation of a question, its files decoded."""
    if not cameras:
        return question.observation
    return Observation(question.observation, jpeg.decoded(question.pictures, cameras), question.prompt)


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

    asyncio.run(run())


@contextlib.contextmanager
def running(server: PolicyServer) -> Iterator[PolicyServer]:
    """Serve in a thread of this process as long as the block lasts: for notebooks, tests and simulation."""
    started, stop = threading.Event(), asyncio.Event()
    problem, loops = list[BaseException](), list[asyncio.AbstractEventLoop]()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await _serve(server, stop, lambda _: started.set())

    def run() -> None:
        try:
            asyncio.run(main())
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
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()
