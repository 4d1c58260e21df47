"""The start of a run: a plan for a policy whose inference was timed while other things were going on, too."""

import time
from collections.abc import Callable
from dataclasses import replace
from math import ceil, floor
from typing import Final

import numpy as np
from typing_extensions import override

from segue.cli.robot import plan_for
from segue.cli.screen import console
from segue.core.chunk import Array, ChunkPolicy, Continuation
from segue.core.observation import Observed
from segue.core.spec import PolicySpec
from segue.errors import PolicyError, TimingError
from segue.links.link import Hello, PolicyLink
from segue.links.process import ADVICE
from segue.links.worker import measure_latency
from segue.plan.plan import Plan, Request

PATIENCE: Final = 10.0
"""How long a machine is given to become quiet [s]."""
_CALLS: Final = 5
_SETTLED: Final = 0.2  # two medians that differ by no more than this share


def planned(
    link: PolicyLink, hello: Hello, dt: float, execution_horizon: int, quantile: float, trigger: str,
    patience: float = PATIENCE,
) -> Plan:  # fmt: skip
    """A plan for a policy; where its inference is too slow for any, time it until that has settled.

    Args:
        link: To the policy.
        hello: What it has said of itself.
        dt: Control period [s].
        execution_horizon: Steps executed of a chunk, if the delay is no longer.
        quantile: Of the last delays, to plan with.
        trigger: When to ask for a chunk, see `segue.plan.trigger`.
        patience: Longest time that is waited [s].

    Raises:
        TimingError: The inference stays too slow; or nothing fits however fast it is.
        PolicyError: The policy answers with errors.
    """

    def plan(inference: float) -> Plan:
        return plan_for(replace(hello, inference=inference), dt, execution_horizon, quantile, trigger)

    def fits(inference: float) -> bool:
        try:
            plan(inference)
        except TimingError:
            return False
        return True

    plan(0.0)  # what is wrong at any speed is said as it is
    inference = hello.inference
    if not fits(inference):
        console.print(
            f"inference took {1e3 * hello.inference:.0f} ms, too long for chunks of {hello.spec.horizon} at "
            f"{1 / dt:g} Hz; waiting for up to {patience:g} s, in case the machine is busy",
            highlight=False,
        )
        inference = settled(link, hello, fits, patience)
        if not fits(inference):
            raise _too_slow(hello, inference, dt, execution_horizon)
        console.print(
            f"the machine was busy: inference took {1e3 * hello.inference:.0f} ms at the start, "
            f"{1e3 * inference:.0f} ms since",
            highlight=False,
        )
    made = plan(inference)
    console.print(
        f"policy: chunks of {hello.spec.horizon}, {1e3 * inference:.1f} ms per inference, planned delay "
        f"{made.delay.estimate()} of {made.execution_horizon} steps at {1 / dt:g} Hz",
        highlight=False,
    )
    return made


def settled(
    link: PolicyLink, hello: Hello, fits: Callable[[float], bool], patience: float,
    now: Callable[[], float] = time.monotonic,
) -> float:  # fmt: skip
    """Median time of an inference once it no longer changes and is short enough, or the last when patience ends [s].

    Args:
        link: To the policy; what is asked here is an episode of its own.
        hello: What the policy has said of itself.
        fits: Whether an inference of so many seconds is short enough.
        patience: Longest time that is waited [s].
        now: Monotonic time [s].
    """
    asked, until, before = _Asked(link, hello.spec), now() + patience, hello.inference
    while True:
        median = float(np.median(measure_latency(asked, now, _CALLS)))
        if now() >= until or (fits(median) and abs(median - before) <= _SETTLED * max(median, before)):
            return median
        before = median


class _Asked(ChunkPolicy):
    """A policy behind a link, waited for."""

    def __init__(self, link: PolicyLink, spec: PolicySpec) -> None:
        self._link, self._spec, self._epoch, self._number = link, spec, link.new_epoch(), 0

    @property
    @override
    def spec(self) -> PolicySpec:
        return self._spec

    @override
    def next_chunk(self, observation: Observed, continuation: Continuation) -> Array:
        self._number += 1
        self._link.send(Request(self._epoch, self._number, continuation.start, continuation), observation)
        while (answer := self._link.poll()) is None or (answer.epoch, answer.number) != (self._epoch, self._number):
            time.sleep(0.0005)
        if answer.actions is None:
            raise PolicyError(f"a policy that does not answer: {answer.error}", *ADVICE)
        return answer.actions

    @override
    def reset(self) -> None:
        """The next episode of the link resets it."""

    @override
    def close(self) -> None:
        """The link is its owner's."""


def _too_slow(hello: Hello, inference: float, dt: float, execution_horizon: int) -> TimingError:
    """What to do, the cheap things first."""
    horizon, delay = hello.spec.horizon, ceil(inference / dt)
    most = min(horizon - execution_horizon, horizon // 2)
    rate = max(floor(10 * most / inference) / 10, 0.1)
    return TimingError(
        got=f"an inference of {1e3 * inference:.0f} ms ({1e3 * hello.inference:.0f} ms at the start): {delay} steps at "
        f"{1 / dt:g} Hz, and chunks of {horizon}",
        expected=f"at most {most} steps, {1e3 * most * dt:.0f} ms: an inference has to fit twice into a chunk",
        change=f"end other work on this machine, or run at a lower rate (--rate {rate:g}); `segue doctor --rate "
        f"{1 / dt:g}` with --run or --server measures what is possible. If it is as slow on a quiet machine: a faster "
        f"device, or a policy with a horizon of at least {delay + max(delay, execution_horizon)}",
    )
