"""What this machine can promise: how late its timer is, what it grants, how long a policy takes, and what follows.

    schedule   |----------|----------|----------|      absolute deadlines, nothing to do in between
    lateness   |<>        |<-->      |<>               what a control loop would see before its own work

Measuring and judging are apart: `recommend` and the verdicts are pure functions of what was measured.
"""

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segue.core.smoothness import Array
from segue.runtime.clock import Clock

PERCENTILE = 0.99
"""Of latencies that a delay has to cover: one chunk in a hundred may come late and is joined later."""
GOOD_LATENESS = 0.1
"""Largest 99th percentile of lateness that is called good [share of the period]."""


@dataclass(frozen=True, eq=False)
class Jitter:
    """How late ticks began.

    Attributes:
        rate: Of the schedule [Hz].
        lateness: Shape (ticks,) [s].
        missed: Slots whose tick could not begin within half a period, which a control loop skips.
    """

    rate: float
    lateness: Array
    missed: int

    @property
    def good(self) -> bool:
        """Whether nothing was missed and the 99th percentile is a small part of the period."""
        return self.missed == 0 and float(np.quantile(self.lateness, 0.99)) <= GOOD_LATENESS / self.rate


def measure_jitter(clock: Clock, rate: float, seconds: float) -> Jitter:
    """Tick at a rate without doing anything.

    Args:
        clock: With or without spinning.
        rate: [Hz].
        seconds: How long.
    """
    slots, lateness, missed = max(int(seconds * rate), 1), [], 0
    start, slot = clock.now(), 1
    while slot <= slots:
        deadline = start + slot / rate
        clock.sleep_until(deadline)
        late = clock.now() - deadline
        lateness.append(late)
        skipped = int(late * rate + 0.5)  # as the executor does
        missed += skipped
        slot += max(skipped, 1)
    return Jitter(rate, np.array(lateness), missed)


@dataclass(frozen=True)
class Machine:
    """What a control and a policy process share.

    Attributes:
        cores: That this process may use.
        load: Processes that want to run, mean of the last minute; NaN where the system does not say.
        shared_memory: Free bytes in memory-backed files; None: there are none.
    """

    cores: int
    load: float
    shared_memory: int | None


def look_at_machine(memory: Path = Path("/dev/shm")) -> Machine:
    """The machine as it is now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    return Machine(cores, load, shutil.disk_usage(memory).free if memory.is_dir() else None)


def machine_notes(machine: Machine) -> list[str]:
    """What is wrong with a machine, in plain words."""
    notes = []
    if machine.cores < 2:
        notes.append("one core: control and policy take turns on it; use a machine with two, or a policy server")
    elif machine.load > machine.cores - 1:
        notes.append(f"a load of {machine.load:.1f} on {machine.cores} cores: end other work before a robot moves")
    if machine.shared_memory is None:
        notes.append("no /dev/shm: traces can only go to a disk")
    elif machine.shared_memory < 1 << 28:
        notes.append(f"{machine.shared_memory >> 20} MB free in /dev/shm: traces there have to be short")
    return notes


@dataclass(frozen=True)
class Recommendation:
    """How to run a policy of a certain latency.

    Attributes:
        rate: Control rate [Hz].
        delay: d [steps].
        execution_horizon: s [steps]; None where none fits.
        words: The same as a sentence, and what to change if it does not work out.
    """

    rate: float
    delay: int
    execution_horizon: int | None
    words: str


def recommend(horizon: int, rate: float, latency: Array) -> Recommendation:
    """Delay and execution horizon for a policy, by ``d <= s <= H - d`` (arXiv 2506.07339, section 4).

    The delay covers 99 of 100 latencies, and the step in which the answer is waited for. The execution horizon is the
    shortest in which an inference fits, but not below a quarter of the chunk: more inferences only make more seams.

    Args:
        horizon: H [steps].
        rate: Control rate [Hz].
        latency: Shape (calls,), measured [s].
    """
    slow = float(np.quantile(latency, PERCENTILE))
    delay = max(math.ceil(slow * rate - 1e-9), 1)
    at = f"99 of 100 inferences take up to {1e3 * slow:.3g} ms: {delay} steps at {rate:g} Hz"
    if 2 * delay > horizon:
        slower = horizon / 2 / slow
        words = (
            f"{at}, and a chunk has only {horizon}. A robot would run out of actions. Use a horizon of at least "
            f"{2 * delay}, a faster device, or a rate of at most {slower:.3g} Hz"
        )
        return Recommendation(rate, delay, None, words)
    chosen = min(max(delay, math.ceil(horizon / 4)), horizon - delay)
    return Recommendation(
        rate, delay, chosen, f"{at}. Run with a delay of {delay} and an execution horizon of {chosen}"
    )


def timer_words(plain: Jitter, spinning: Jitter) -> str:
    """Which way of waiting to use at a rate, and whether it is good enough."""
    first = f"At {plain.rate:g} Hz "
    if plain.good:
        return first + "sleeping is punctual enough"
    if spinning.good:
        return first + "sleeping alone is late, sleeping and then spinning is punctual: use the spin"
    late = 1e3 * float(np.quantile(spinning.lateness, 0.99))
    return (
        first + f"this machine is late ({late:.3g} ms, {spinning.missed} slots missed) in either way: end other work, "
        "allow real-time priority, or lower the rate"
    )
