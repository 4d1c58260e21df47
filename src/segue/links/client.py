"""A policy that runs elsewhere, as a chunk policy: asked over a websocket, of Segue or of openpi.

    next_chunk   connect if need be -> send -> wait for the answer with this number -> actions
                 |                                                                      |
                 +---------------- all of it within `deadline`, or RemoteError ---------+

All state is here (who is continued, the numbers of requests), none at the server, so that a server may be restarted
at any moment. An answer that comes after its deadline is never taken for that of a later request: its number differs,
and after a deadline has passed the connection is closed, which also holds for servers that number nothing.

Waiting for a network has no place in a control loop: this belongs into the process of the policy.
"""

import logging
import random
import time
from collections.abc import Mapping
from math import nan
from ssl import SSLCertVerificationError, SSLContext
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException

from segue.core.chunk import Array, ChunkPolicy, Continuation, Predicting, nothing_to_continue
from segue.core.observation import Observation, Observed, Picture, check_pictures, state_of
from segue.core.spec import PolicySpec
from segue.errors import RemoteError, SpecError
from segue.links import frames, jpeg, messages
from segue.links.card import Card, decode_card
from segue.links.layouts import Layout
from segue.links.link import Backoff
from segue.links.messages import STATES, Answer, Question
from segue.links.serving.websocket import Websocket

_PAUSES: Final = Backoff(first=0.05, most=2.0, jitter=0.5)
_connections = logging.getLogger("segue.client.connections")
_connections.setLevel(logging.CRITICAL)  # what becomes of a connection is said once, in an error of ours


class RemotePolicy(ChunkPolicy, Predicting):
    """Asks a chunk policy at the other end of a websocket. For one thread.

    Args:
        url: ``ws://host:port``, ``wss://host:port`` or ``unix:/path``.
        spec: What the policy must see and answer. A Segue server is compared with it, and says it if it is left out; an
            openpi server says nothing, so that it must be given, with its cameras.
        model_hash: Hash of the weights that the server must have.
        token: Token that the server asks clients to present.
        tls: Trusted certificates for ``wss``, unless the system's.
        deadline: Longest time for an answer, connecting included [s].
        patience: Longest time for the first connection [s].
        state: Key of the observation, for openpi servers that have another.
        layout: How an openpi server is told what is seen, where that is more than one vector and pictures by our names.
        prompt: Task in words, for policies that are told, unless an observation says it.
        jpeg_quality: 1 to 100 to send pictures as JPEG, for networks; None sends them raw, for the same machine.
        checksum: Whether frames to and from a Segue server carry a CRC-32; raw pictures are most of its cost.

    Raises:
        RemoteError: Nobody answers within ``patience``, the token is wrong, or the certificate is not trusted.
        SpecError: The server serves another policy, or speaks another version.
        WireError: What it says of itself cannot be accepted.
    """

    def __init__(
        self, url: str, *, spec: PolicySpec | None = None, model_hash: str | None = None, token: str | None = None,
        tls: SSLContext | None = None, deadline: float = 2.0, patience: float = 10.0, state: str = STATES[0],
        layout: Layout | None = None, prompt: str = "", jpeg_quality: int | None = None, checksum: bool = True,
    ) -> None:  # fmt: skip
        self.url, self.deadline, self.prompt = url, deadline, prompt
        self.jpeg_quality, self.checksum = jpeg_quality, checksum
        self._state, self._layout, self._model_hash, self._tls = state, layout, model_hash, tls
        self._headers = {"Authorization": f"Api-Key {token}"} if token else {}
        self._spec = spec
        self._connection: Websocket | None = None
        self._number = self._failures = 0
        self._rng, self._not_before = random.Random(), 0.0
        self._problem: Exception | None = None
        self.timing: Mapping[str, float] = {}
        self._surprise = nan
        self.card: Card | None = None
        self._greetings = 0
        self._connected(time.monotonic() + patience)

    @property
    @override
    def spec(self) -> PolicySpec:
        assert self._spec is not None
        return self._spec

    @property
    @override
    def surprises(self) -> NDArray[np.float64]:
        return np.array([self._surprise])

    @override
    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        """Ask the server; `timing` then says where the time went [ms].

        Raises:
            RemoteError: No answer within the deadline, or the server refuses to give one.
            WireError: The answer cannot be accepted.
            SpecError: The server serves another policy by now: other weights, handover or specification.
        """
        return self._chunk(observation, continuation, self.spec.chunk_shape)

    def chunk_of_any_size(self, observation: Observed) -> Array:
        """What a server answers that does not say how many actions it answers with. Shape (horizon, action).

        Raises as `next_chunk`.
        """
        return self._chunk(observation, nothing_to_continue(0, len(self.spec.action_names), 1), (None, None))

    def _chunk(self, observation: Observed, continuation: Continuation, shape: tuple[int | None, int | None]) -> Array:
        started = time.monotonic()
        ends = started + self.deadline
        self._number, self._surprise = self._number + 1, nan
        while True:
            connection, plain = self._connected(ends), self.card is None
            revision = 0 if self.card is None else self.card.revision
            if self._layout is None:
                question = self._question(observation, continuation, started, ends)
                frame = messages.encode_question(question, self._state, plain=plain, revision=revision)
            else:
                frame = self._laid_out(observation, self._layout)
            try:
                connection.send(frame, max(ends - time.monotonic(), 0.001))
                answer = self._await(connection, ends, plain, shape)
            except RemoteError:
                if plain:
                    self._drop()  # an openpi server closes after an error, and a late answer would bear no number
                raise
            except TimeoutError as error:
                self._drop()
                raise self._silent() from error
            except (WebSocketException, OSError) as error:
                self._failed(error)
                if time.monotonic() >= ends:
                    raise self._silent() from error
            except BaseException:
                self._drop()
                raise
            else:
                self.timing = {**answer.timing, "round_trip_ms": 1e3 * (time.monotonic() - started)}
                self._surprise = answer.surprise
                return answer.actions

    def _question(self, observed: Observed, continuation: Continuation, started: float, ends: float) -> Question:
        check_pictures(observed, self.spec.cameras)
        shown, prompt = (observed.pictures, observed.prompt) if isinstance(observed, Observation) else ({}, "")
        seen: dict[str, Picture | memoryview] = {name: shown[name] for name in self.spec.cameras}
        if self.jpeg_quality is not None:
            quality = self.jpeg_quality
            seen = {name: memoryview(jpeg.encode_jpeg(shown[name], quality)) for name in seen}
        return Question(
            np.asarray(state_of(observed), np.float32), continuation, self._number,
            max(ends - time.monotonic(), 0.0), started, prompt or self.prompt, seen, self.checksum,
        )  # fmt: skip

    def _laid_out(self, observed: Observed, layout: Layout) -> bytes:
        check_pictures(observed, self.spec.cameras)
        told = layout.message(self.spec.observation_names, observed, self.prompt)
        return frames.encode(told, checksum=False)

    def _await(self, connection: Websocket, ends: float, plain: bool, shape: tuple[int | None, int | None]) -> Answer:
        """Wait for the answer with the number that was asked for, and drop others."""
        while True:
            frame = connection.recv(max(ends - time.monotonic(), 0.0))
            if frame == messages.RESET:
                continue  # the answer to a reset
            if isinstance(frame, str):
                code, identity = messages.reason(frame)
                if identity in (None, self._number):
                    keys = "give the layout of its policy (--layout), or " if self._layout is not None else ""
                    raise RemoteError(
                        f"no answer from {self.url}: {code}", "a chunk", f"{keys}look into the log of the server"
                    )
                continue
            answer = messages.decode_answer(frame, shape)
            if plain or answer.id == self._number:
                return answer

    def _connected(self, ends: float) -> Websocket:
        """Return the connection; make a new one if there is none, trying until a time of the monotonic clock."""
        while self._connection is None:
            wait = max(self._not_before - time.monotonic(), 0.0)
            if time.monotonic() + wait >= ends:
                starter = "segue serve" if self._layout is None else "openpi's scripts/serve_policy.py"
                raise RemoteError(
                    f"no server at {self.url}" + (f": {_cause(self._problem)}" if self._problem else ""),
                    "a policy server that listens there",
                    f"start it ({starter}), check the address, or wait longer",
                ) from self._problem
            time.sleep(wait)
            try:
                self._connection = self._open(ends)
                self._failures, self._problem = 0, None
            except InvalidStatus as error:
                if error.response.status_code in (401, 403):
                    raise RemoteError(
                        f"{self.url} turns us away: {error}", "the token of the server", "give it as token"
                    ) from error
                self._failed(error)
            except SSLCertVerificationError as error:
                raise RemoteError(
                    f"{self.url} shows a certificate that is not trusted: {error.verify_message}",
                    "one that `tls` or the system trusts",
                    "give a context with the server's certificate: ssl.create_default_context(cafile=...)",
                ) from error
            except InvalidURI as error:
                raise SpecError(str(error), "ws://host:port, wss://host:port or unix:/path", "correct it") from error
            except (OSError, InvalidHandshake, WebSocketException) as error:
                self._failed(error)
        return self._connection

    def _open(self, ends: float) -> Websocket:
        tls = self._tls if self.url.startswith("wss:") else None
        connection = Websocket(
            self.url, ends, tls=tls, headers=self._headers, largest=frames.MAX_FRAME, log=_connections
        )
        try:
            self._greeted(connection.recv(max(ends - time.monotonic(), 0.0)))
        except BaseException:
            connection.abort()
            raise
        return connection

    def _greeted(self, frame: bytes | str) -> None:
        """Compare what the server says of itself with what is expected."""
        card = decode_card(frame)
        if card is None:
            if self._spec is None or self._model_hash is not None or self.card is not None:
                raise SpecError(
                    f"{self.url} does not say what it serves, as openpi's servers do not",
                    "a Segue server, or to be told",
                    "give the spec of its policy (horizon, dt, names), and no model_hash",
                )
        else:
            if self._layout is not None:
                raise SpecError(
                    f"{self.url} is a server of Segue, which says what it serves",
                    "one of openpi, as a layout is for",
                    "ask it without a layout: --server instead of --openpi",
                )
            if self._spec is not None:
                card.spec.check_same(self._spec, "connect to the server of the policy for this robot")
            if self._model_hash not in (None, card.hash):
                raise SpecError(
                    f"{self.url} serves {card.model!r} of hash {card.hash!r}",
                    f"hash {self._model_hash!r}",
                    "connect to the server with these weights",
                )
            if self._greetings:
                _check_same(self.url, card, self.card)
            self._spec = card.spec
        self.card = card
        self._greetings += 1

    def _failed(self, problem: Exception) -> None:
        """Drop the connection, and wait a little before the next."""
        self._drop()
        if self._problem is None or not isinstance(problem, TimeoutError):  # the last attempt has the least time
            self._problem = problem
        self._failures += 1
        self._not_before = time.monotonic() + _PAUSES.seconds(self._failures, self._rng)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    def _silent(self) -> RemoteError:
        return RemoteError(
            f"no answer from {self.url} within {self.deadline:g} s",
            "a chunk before the deadline",
            "look into the log of the server, or wait longer",
        )

    @override
    def reset(self) -> None:
        """Tell a Segue server, if one is connected, that an episode is over; nothing depends on it here."""
        if self._connection is None or self.card is None:
            return
        try:
            self._connection.send(messages.RESET, self.deadline)
        except (WebSocketException, OSError) as error:
            self._failed(error)

    @override
    def close(self) -> None:
        self._drop()


def _check_same(url: str, card: Card, before: Card | None) -> None:
    """Raise `SpecError` unless a server that comes back serves what it served: who asks goes on in an episode."""
    if before is None:
        raise SpecError(
            f"{url} is a server of Segue by now, of {card.model!r}",
            "one that does not say what it serves, as before",
            "end the episode and connect again",
        )
    if card.handover is not before.handover:
        raise SpecError(
            f"{url} serves chunks whose handover is {card.handover.value!r} by now",
            f"{before.handover.value!r}, as before",
            "connect again, with a plan for such chunks",
        )
    if (card.model, card.hash) != (before.model, before.hash):
        raise SpecError(
            f"{url} serves {card.model!r} of hash {card.hash!r} by now",
            f"{before.model!r} of hash {before.hash!r}, as before",
            "end the episode and connect again, or start the server with the weights from before",
        )


def _cause(problem: Exception) -> str:
    """Say why there is no connection, without a peer's control characters."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, InvalidStatus) and problem.response.body:
        said = bytes(problem.response.body[:200]).decode(errors="replace").strip()
        return "".join(c if c.isprintable() else "?" for c in f"{problem}: {said}")
    if isinstance(problem, ConnectionClosed) and problem.rcvd is None:
        return "the connection broke"
    return str(problem) or type(problem).__name__
