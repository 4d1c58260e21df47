"""A policy in a process of its own: started, supervised and restarted beside the control loop.

    STARTING --hello--> READY --died, hung--> LOST --pause--> STARTING ...
        '------did not start-------------------^

The control loop calls `send` and `poll`, which store to and look into shared memory. Everything that takes time (start,
warm-up, noticing an end, killing, pausing) happens in a thread that sleeps until the operating system or the clock has
something for it.

Every policy process gets memory of its own: one that was given up cannot speak into its successor's channel.
"""

import math
import os
import random
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec
from typing_extensions import override

from segue.core import foreign
from segue.core.observation import Observed
from segue.core.spec import PolicySpec
from segue.errors import PolicyError, SpecError
from segue.links.link import Answer, Backoff, Hello, LinkState, PolicyLink
from segue.links.shared_memory import Channel, anonymous_file, pack_request, unpack_answer
from segue.plan.plan import Request

ANSWER_TIMEOUT: Final = 2.0
"""Time after which a policy is given up [s]; it should itself give up clearly earlier what it waits for."""
_HELLO_BYTES: Final = 1 << 20
_GRACE: Final = 1.0  # [s]
_SLOW: Final = 20.0


@dataclass(eq=False)
class _Child:
    """A policy process, its memory and its pipes."""

    process: subprocess.Popen[bytes]
    memory: int
    status: int
    hello: Hello | None = None
    channel: Channel | None = None
    asked: tuple[Request, float] | None = None
    """The newest request and when it was made, until it is answered."""
    waiting_since: float | None = None
    """When the first of the requests was made that nothing has been heard about."""
    answered: bool = False

    def owes_since(self) -> float | None:
        """Return since when it owes an answer; None if one lies there that nobody has read, as between two runs."""
        return None if self.channel is None or self.channel.answers.unread else self.waiting_since

    def wake(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # full: it has not looked yet; broken: the supervisor notices
            os.write(self.process.stdin.fileno(), b"\0")

    def ending(self) -> str:
        """Say how it ended."""
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(_GRACE)
            return f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
        return "hung up"

    def end(self) -> None:
        """Let it end, or kill it, and close its files."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        if self.channel is not None and self.owes_since() is None:  # it is listening
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE)
        self.process.kill()
        self.process.wait()
        os.close(self.memory)
        os.close(self.status)


ADVICE = "a policy that warms up", "see its output above"


class _Lost(Exception):  # noqa: N818  # an event, not an error
    """A policy process is not, or no longer, there; `again` says whether another one may be started."""

    def __init__(self, reason: str, *, again: bool = True, advice: tuple[str, str] = ADVICE) -> None:
        self.reason, self.again, self.advice = reason, again, advice
        super().__init__(reason)


class ProcessLink(PolicyLink):
    """Starts, asks, supervises and restarts a policy in a process of its own.

    Args:
        argv: Command of the process; the descriptors of shared memory and status pipe are appended to it. It is to call
            `segue.links.worker.work`.
        answer_timeout: A policy that has not answered for so long, or for 20 times the time of its inferences when it
            was warm, hangs: it is killed and started again [s].
        start_timeout: The same for the time from start to hello [s].
        backoff: Pauses between starts.
        seed: Seed of the pauses' jitter.
    """

    def __init__(
        self, argv: Sequence[str], *, answer_timeout: float = ANSWER_TIMEOUT, start_timeout: float = 300.0,
        backoff: Backoff | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self._argv = tuple(argv)
        self._answer_timeout, self._start_timeout = answer_timeout, start_timeout
        self._backoff, self._rng = backoff or Backoff(), random.Random(seed)
        self.state, self.restarts, self.reason = LinkState.STARTING, 0, ""
        self._advice = ADVICE
        self._child: _Child | None = None
        self._hello: Hello | None = None
        self.spec, self.epoch = None, -1
        self._lost: deque[Answer] = deque(maxlen=8)
        self._lock = threading.Lock()  # held while a request or an answer is copied, never while anything is waited for
        self._settled = threading.Event()
        self._closing, self._close = os.pipe()
        self._thread = threading.Thread(target=self._supervise, name="policy supervisor", daemon=True)
        self._thread.start()

    def hello(self, timeout: float | None = None) -> Hello:
        """Wait for the first start and return what the policy says of itself; `PolicyError` if it did not start."""
        self._settled.wait(timeout)
        if self._hello is None:
            reason, advice = self.reason or f"nothing heard for {timeout} s", self._advice
            self.close()
            raise PolicyError(f"a policy process that did not start: {reason}", *advice)
        return self._hello

    @property
    def pid(self) -> int | None:
        """Number of the policy process that is being asked, if there is one."""
        child = self._child
        return None if child is None else child.process.pid

    @override
    def send(self, request: Request, observation: Observed) -> None:
        now = time.monotonic()
        with self._lock:
            child = self._child
            if child is None or child.channel is None:
                self._lost.append(Answer(request.epoch, request.number, None, 0.0, self.reason or "starting"))
                return
            try:
                message = pack_request(request, observation, now, child.channel.spec.cameras)
                child.channel.requests.write(message)
            except SpecError as error:  # what does not fit is no reason to stop the control loop
                self._lost.append(Answer(request.epoch, request.number, None, 0.0, error.got))
                return
            child.asked = (request, now)
            child.waiting_since = child.waiting_since or now
            child.wake()

    @override
    def poll(self) -> Answer | None:
        with self._lock:  # with what is noted of it: the supervisor sees an answer lying there, or nothing owed
            child = self._child
            if child is None or child.channel is None or (message := child.channel.answers.read()) is None:
                return self._lost.popleft() if self._lost else None
            answer = unpack_answer(message, child.channel.spec)
            child.answered, child.waiting_since = True, time.monotonic() if answer.more else None
            if answer.more:
                return answer
            if child.asked is not None and child.asked[0].number == answer.number:
                child.asked = None
            elif child.asked is not None:
                child.waiting_since = time.monotonic()
        return answer

    @override
    def close(self) -> None:
        with self._lock:
            close, self._close = self._close, -1
        if close >= 0:
            os.close(close)  # the other end becomes readable
            self._thread.join()
            os.close(self._closing)

    def _supervise(self) -> None:
        failures, again = 0, True
        while again:
            child = None
            try:
                child = self._start()
                self._attach(child, self._hear(child))
                self._watch(child)
            except _Lost as lost:
                reason, again, self._advice = lost.reason, lost.again, lost.advice
            except Exception as error:  # whatever it was: somebody waits to hear what became of this start
                reason, self._advice = f"{type(error).__name__}: {error}", ADVICE
            self._detach(child, reason)
            again = again and self._hello is not None and not self._closed(0)
            self._settled.set()
            if child is not None:
                failures = 0 if child.answered else failures
                child.end()
            failures += 1
            if again and not self._closed(self._backoff.seconds(failures, self._rng)):
                self.restarts += 1
                self.state = LinkState.STARTING
            else:
                return

    def _closed(self, seconds: float) -> bool:
        """Tell whether the link is closed within so many seconds."""
        return bool(_readable([self._closing], seconds))

    def _start(self) -> _Child:
        with ExitStack() as undo:
            try:
                memory = anonymous_file()
                undo.callback(os.close, memory)
                status, say = os.pipe()
                undo.callback(os.close, status)
                try:
                    process = subprocess.Popen(
                        [*self._argv, str(memory), str(say)],
                        stdin=subprocess.PIPE, stdout=2, pass_fds=(memory, say), bufsize=0,
                    )  # fmt: skip
                finally:
                    os.close(say)
            except OSError as error:
                raise _Lost(f"{self._argv[0]} cannot be started ({error.strerror})") from error
            undo.pop_all()
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return _Child(process, memory, status)

    def _hear(self, child: _Child) -> Hello:
        """Wait until the policy is warm."""
        deadline, text = time.monotonic() + self._start_timeout, b""
        while not text.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready = _readable([child.status, self._closing], max(left, 0))
            if self._closing in ready:
                raise _Lost("closed")
            if not ready or len(text) > _HELLO_BYTES:
                raise _Lost(f"not ready {self._start_timeout:g} s after its start")
            part = os.read(child.status, 65536)
            if not part:
                raise _Lost(child.ending())
            text += part
        return hello_from_line(text)

    def _attach(self, child: _Child, hello: Hello) -> None:
        known = self._hello
        if known is not None and (known.spec, known.handover) != (hello.spec, hello.handover):
            raise _Lost(f"another policy than before, {hello.spec}", again=False)
        try:
            child.channel = Channel.over(child.memory, hello.spec)
        except SpecError as error:
            raise _Lost(error.got) from error
        self._hello, child.hello = known or hello, hello
        self.spec = self._hello.spec
        with self._lock:
            self._child, self.state = child, LinkState.READY
        self._settled.set()

    def _watch(self, child: _Child) -> NoReturn:
        """Wait until the policy process ends or hangs."""
        assert child.hello is not None
        patience = max(self._answer_timeout, _SLOW * child.hello.inference)
        while True:
            ready = _readable([child.status, self._closing], patience / 4)
            if self._closing in ready:
                raise _Lost("closed")
            if child.status in ready:
                raise _Lost(child.ending())
            with self._lock:
                since = child.owes_since()
            if since is not None and time.monotonic() - since > patience:
                raise _Lost(f"no answer for {patience:g} s")

    def _detach(self, child: _Child | None, reason: str) -> None:
        with self._lock:
            self._child, self.state, self.reason = None, LinkState.LOST, reason
            if child is not None and child.asked is not None:
                request, at = child.asked
                seconds = time.monotonic() - at
                self._lost.append(Answer(request.epoch, request.number, None, seconds, reason))


def _readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    """Wait so many seconds at most; return which of these can be read, or have come to their end."""
    poll = select.poll()  # not `select.select`, which knows no descriptor above 1023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(math.ceil(1e3 * seconds))]


def hello_from_line(text: bytes) -> Hello:
    """Read what a policy process says of itself, as `segue.links.worker` writes it."""
    try:
        value = foreign.parsed(text)
        if "error" in value:
            advice = value.get("expected", ADVICE[0]), value.get("change", ADVICE[1])
            raise _Lost(" ".join(str(value["error"]).split()), advice=advice)
        return msgspec.convert({**value, "spec": PolicySpec.of(value["spec"])}, Hello)
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError, SpecError) as error:
        raise _Lost(f"said something else than a policy process says ({text[:80]!r})") from error
