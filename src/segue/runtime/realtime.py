"""Asks the system for punctuality: priority, memory, timer and collector, each as far as it is granted.

Nothing here is needed to run. What a machine refuses is reported with the reason, and the loop runs without it.
"""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

PRIORITY = 50
"""Priority of `SCHED_FIFO`: above ordinary work, below the kernel's own threads."""
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


@dataclass(frozen=True)
class Grant:
    """Says whether one thing that was asked for is in force, and why not; the reason is empty when it is."""

    name: str
    granted: bool
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {'yes' if self.granted else f'no ({self.reason})'}"


@contextmanager
def realtime(priority: int = PRIORITY) -> Iterator[tuple[Grant, ...]]:
    """Make the calling thread punctual for the time of a ``with`` block; everything is put back behind it.

    Priority and timer slack are of this thread, and children do not inherit the priority: a policy process stays an
    ordinary one. The collector rests, so that a loop must not leave reference cycles behind. One trace may stay: that
    children do not inherit is a flag of the thread, which only a privileged one may clear.
    """
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    before = _scheduling()
    scheduled, memory, slack = _schedule(priority), _lock_memory(), _timer_slack(1)
    with ExitStack() as undo:  # all of it, also where an impatient signal interrupts one part
        if scheduled.granted and before is not None:
            undo.callback(_put_back, *before)
        if memory.granted:
            undo.callback(ctypes.CDLL(None).munlockall)
        if slack[0].granted:
            undo.callback(_timer_slack, slack[1])
        if collecting:
            undo.callback(gc.enable)
        undo.callback(gc.unfreeze)
        yield scheduled, memory, slack[0], Grant("garbage collector off", True)


def _schedule(priority: int) -> Grant:
    name = f"real-time priority {priority}"
    if not hasattr(os, "SCHED_FIFO"):
        return Grant(name, False, f"not on {sys.platform}")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return Grant(name, False, f"{error.strerror}; allow it with ulimit -r {priority}")
    return Grant(name, True)


def _scheduling() -> tuple[int, int] | None:
    """Return scheduling policy and priority of this thread, where the system knows such things."""
    return (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) if hasattr(os, "SCHED_FIFO") else None


def _put_back(policy: int, priority: int) -> None:
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:  # of the flag: lowering a priority is always allowed
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def _lock_memory() -> Grant:
    """Keep in memory whatever has been touched, and not the rest of every library."""
    name = "memory locked"
    if not sys.platform.startswith("linux"):
        return Grant(name, False, f"not on {sys.platform}")
    if os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        # Under a finite limit the kernel would refuse the memory that is asked for later, in the loop.
        return Grant(name, False, "a limit on it; allow it with ulimit -l unlimited")
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        return Grant(name, False, os.strerror(ctypes.get_errno()))
    return Grant(name, True)


def _timer_slack(nanoseconds: int) -> tuple[Grant, int]:
    """Set how late the kernel may end a sleep of this thread; also what it was before."""
    name = "exact timer"
    if not sys.platform.startswith("linux"):
        return Grant(name, False, f"not on {sys.platform}"), 0
    libc = ctypes.CDLL(None, use_errno=True)
    before = libc.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0):
        return Grant(name, False, os.strerror(ctypes.get_errno())), before
    return Grant(name, True), before
