"""The policy process's end of a link: builds a policy, warms it up, then answers the newest request.

    start    build -> warm up -> hello (one line of JSON) on the status pipe
    serve    a byte on standard input: look into the mailbox; its end: the control process is gone, so exit

The policy is any chunk policy; this module knows no framework.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from math import nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import (
    Array,
    ChunkPolicy,
    Continuation,
    Past,
    Unfolding,
    are_real,
    nothing_to_continue,
    surprise_of,
)
from segue.core.observation import blank, state_of
from segue.errors import SegueError, SpecError
from segue.links.shared_memory import Channel, pack_answer, unpack_request
from segue.plan.plan import Handover, Request

WAKE: Final = 0
"""Descriptor on which bytes say that there is a request: standard input."""
_TIMED: Final = 5
_PR_SET_PDEATHSIG: Final = 1


def work(build: Callable[[], tuple[ChunkPolicy, Handover]], memory: int, status: int) -> int:
    """Live as a policy process, and return its exit status.

    Args:
        build: Makes the policy, and says how its chunks take over.
        memory: Descriptor of the memory shared with the control process.
        status: Descriptor of a pipe to it.
    """
    _die_with_parent()
    for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C and a closed terminal are for the control process,
        signal.signal(number, signal.SIG_IGN)  # which lets the robot come to rest and then ends this one
    try:
        policy, handover = build()
        spec = policy.spec
        inference = warm_up(policy)
        channel = Channel.over(memory, spec)
    except SegueError as error:  # it says itself what is to be changed
        _say(status, {"error": error.got, "expected": error.expected, "change": error.change})
        return 1
    except Exception as error:
        traceback.print_exc()
        _say(status, {"error": line(error)})
        return 1
    _say(status, {"spec": spec.said(), "handover": handover.value, "inference": inference})
    serve(policy, channel)
    policy.close()
    return 0


def warm_up(policy: ChunkPolicy) -> float:
    """Let everything happen that only happens at first; then return the median time of `measure_latency` [s]."""
    return float(np.median(measure_latency(policy, time.monotonic, 1 + _TIMED)[1:]))


def measure_latency(policy: ChunkPolicy, now: Callable[[], float], calls: int) -> NDArray[np.float64]:
    """Measure the seconds of each inference after the first, which is left out. Shape (calls,).

    Observations are zeros, and every chunk continues the one before, as on a robot; what was executed since is there
    to be compared with what was predicted.

    Raises:
        SpecError: The policy answers with chunks of another shape than it says.
    """
    spec = policy.spec
    size = spec.chunk_shape
    observation = blank(len(spec.observation_names), spec.cameras)
    half = max(spec.horizon // 2, 1)
    actions = _checked(policy.next_chunk(observation, nothing_to_continue(0, size[1], half)), size)
    seconds = []
    for call in range(1, calls + 1):
        prefix = actions[half:]
        continuation = Continuation(
            call * half, prefix, min(len(prefix), 1), half, np.ones(len(prefix), np.int64), previous=actions[half - 1],
            past=Past(state_of(observation), actions[:half]),
        )  # fmt: skip
        started = now()
        actions = _checked(policy.next_chunk(observation, continuation), size)
        seconds.append(now() - started)
    policy.reset()
    return np.array(seconds)


def serve(policy: ChunkPolicy, channel: Channel) -> None:
    """Answer the newest request whenever woken, until the control process is gone."""
    epoch, told = None, set[str]()
    size = channel.spec.chunk_shape
    while os.read(WAKE, 4096):
        message = channel.requests.read()
        if message is None:
            continue
        request, observation, captured = unpack_request(message, channel.spec)
        actions, error, surprise = None, "", nan

        def say(part: Array, request: Request = request, captured: float = captured) -> None:
            now = time.monotonic()
            channel.answers.write(pack_answer(request, part, "", captured=captured, finished=now))

        try:
            if request.epoch != epoch:
                policy.reset()
                epoch = request.epoch
            actions = _made(policy, observation, request.continuation, size, say)
            surprise = surprise_of(policy)
        except Exception as caught:
            error = line(caught)
            if error not in told and len(told) < 100:  # the root cause once, not at every request
                told.add(error)
                traceback.print_exc()
        finished = time.monotonic()
        channel.answers.write(
            pack_answer(request, actions, error, captured=captured, finished=finished, surprise=surprise)
        )


def _made(
    policy: ChunkPolicy, observation: Any, continuation: Continuation, size: tuple[int, int],
    say: Callable[[Array], None],
) -> Array:  # fmt: skip
    """Let a policy make a chunk, and say its first actions as soon as they are finished."""
    if not isinstance(policy, Unfolding):
        return _checked(policy.next_chunk(observation, continuation), size)
    part = np.zeros((0, size[1]), np.float32)
    for part in policy.parts(observation, continuation):
        if 0 < len(part) < size[0]:
            say(_checked(part, (len(part), size[1])))
    return _checked(part, size)


def _checked(actions: Array, size: tuple[int, int]) -> Array:
    if np.shape(actions) != size:
        raise SpecError(
            f"a chunk of shape {np.shape(actions)}",
            f"(horizon, action) = {size}, as the policy's spec says",
            "correct the policy, or its spec",
        )
    if not are_real(actions):
        raise SpecError(
            f"a chunk of {np.asarray(actions).dtype}", "real numbers, as float32", "correct what the policy answers"
        )
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the plan refuses
        return np.asarray(actions, np.float32)


def line(error: BaseException) -> str:
    """Write an error in one line; those of Segue say what was got."""
    text = error.got if isinstance(error, SegueError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()) or type(error).__name__


def _say(status: int, value: dict[str, Any]) -> None:
    with os.fdopen(os.dup(status), "w") as pipe:
        pipe.write(json.dumps(value) + "\n")


def _die_with_parent() -> None:
    """End with the control process even while a policy hangs; elsewhere the end of standard input is all there is."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    poll = select.poll()
    poll.register(WAKE, 0)  # what is seen without asking is that nobody holds the other end
    if poll.poll(0):
        sys.exit("the control process was gone before this one had started")
