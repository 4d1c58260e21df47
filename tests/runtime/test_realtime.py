"""Clock, real-time set-up, signals and watchdog."""

import gc
import os
import resource
import signal
import sys
import threading
import time

import pytest

from segue.runtime import realtime as module
from segue.runtime.clock import MonotonicClock
from segue.runtime.realtime import Grant, realtime
from segue.runtime.signals import on_signals
from segue.runtime.watchdog import Watchdog


@pytest.fixture(autouse=True)
def collected(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the collector was on at each full collection, which does nothing: of all tests' objects it takes long."""
    calls: list[bool] = []
    monkeypatch.setattr(gc, "collect", lambda: calls.append(gc.isenabled()))
    return calls


@pytest.mark.parametrize("spin", [0.0, 0.0005, 0.01])
def test_a_wait_is_never_too_short(spin: float) -> None:
    clock = MonotonicClock(spin)
    for ahead in (-1.0, 0.0, 0.001, 0.005):
        deadline = clock.now() + ahead
        clock.sleep_until(deadline)
        assert clock.now() >= deadline


def test_the_clock_is_that_of_all_processes() -> None:
    before = time.monotonic()
    assert before <= MonotonicClock().now() <= time.monotonic()


def test_whatever_was_granted_is_put_back(collected: list[bool]) -> None:
    assert gc.isenabled()
    policy = os.sched_getscheduler(0) if sys.platform.startswith("linux") else 0
    with realtime() as grants:
        assert collected == [True]
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        assert {grant.name for grant in grants} == {
            "real-time priority 50", "memory locked", "exact timer", "garbage collector off",
        }  # fmt: skip
        assert all(grant.granted or grant.reason for grant in grants)
        if grants[0].granted:
            assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
            child = os.posix_spawnp("true", ["true"], dict(os.environ))
            os.waitpid(child, 0)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    if sys.platform.startswith("linux"):
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == policy


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="no such priority here")
@pytest.mark.parametrize("privileged", [True, False])
@pytest.mark.parametrize("before", [("SCHED_OTHER", 0), ("SCHED_BATCH", 0), ("SCHED_RR", 20)])
def test_scheduling_is_put_back_as_far_as_is_permitted(
    before: tuple[str, int], privileged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel as sched(7) describes it: only who is privileged may clear the flag that children do not inherit."""
    policy, priority = getattr(os, before[0]), before[1]
    now = [policy, priority]

    def schedule(_: int, policy: int, parameters: os.sched_param) -> None:
        if now[0] & os.SCHED_RESET_ON_FORK and not policy & os.SCHED_RESET_ON_FORK and not privileged:
            raise PermissionError(1, "Operation not permitted")
        now[:] = policy, parameters.sched_priority

    monkeypatch.setattr(os, "sched_setscheduler", schedule)
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: now[0])
    monkeypatch.setattr(os, "sched_getparam", lambda _: os.sched_param(now[1]))
    with realtime() as grants:
        assert grants[0].granted
        assert now == [os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50]
    assert now == [policy if privileged else policy | os.SCHED_RESET_ON_FORK, priority]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with realtime():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_signal_while_one_thing_is_put_back_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient() -> None:
        unfreeze()
        raise KeyboardInterrupt

    unfreeze = gc.unfreeze
    policy = os.sched_getscheduler(0) if sys.platform.startswith("linux") else 0
    monkeypatch.setattr(gc, "unfreeze", impatient)
    with pytest.raises(KeyboardInterrupt), realtime():
        pass
    assert gc.isenabled()
    if sys.platform.startswith("linux"):
        assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == policy


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="no such priority here")
def test_fault_26_what_is_refused_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    with realtime() as grants:
        refused = {grant.name: str(grant) for grant in grants if not grant.granted}
    assert "ulimit -r 50" in refused["real-time priority 50"]
    assert "ulimit -l unlimited" in refused["memory locked"]


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "beos")
    assert module._lock_memory() == Grant("memory locked", False, "not on beos")
    assert module._timer_slack(1)[0] == Grant("exact timer", False, "not on beos")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault_21_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    before, asked = signal.getsignal(number), []
    with on_signals(lambda: asked.append(number)) as received:
        assert received.exit_status == 0
        signal.raise_signal(number)
        assert asked == [number]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert asked == [number]
    assert received.exit_status == 128 + number
    assert signal.getsignal(number) is before


def test_fault_13_a_watchdog_acts_once_and_only_when_it_is_not_fed() -> None:
    now, acted = [0.0], []
    dog = Watchdog(lambda: acted.append(now[0]), 1.0, lambda: now[0])
    for _ in range(20):
        now[0] += 0.9
        dog.check()
        dog.feed()
    assert not dog.fired
    now[0] += 1.1
    dog.check()
    dog.check()
    assert dog.fired
    assert acted == [now[0]]


def test_fault_13_a_watchdog_acts_beside_a_call_that_hangs() -> None:
    """The call returns only because the watchdog has acted."""
    acted = threading.Event()
    with Watchdog(acted.set, 0.02) as dog:
        assert acted.wait(60)
    assert dog.fired
    assert not dog._thread.is_alive()
