"""segue doctor: what this machine can promise, measured."""

import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from segue.core.chunk import ChunkPolicy
from segue.core.smoothness import Array
from segue.errors import SegueError
from segue.links.worker import measure_latency
from segue.runtime.clock import MonotonicClock
from segue.runtime.doctor import (
    Jitter,
    look_at_machine,
    machine_notes,
    measure_jitter,
    recommend,
    timer_words,
)
from segue.runtime.realtime import realtime

CALLS = 30


def doctor_command(
    console: Console,
    *,
    rate: float,
    seconds: float,
    run: Path | None,
    method: str,
    server: str | None,
    token: str | None,
) -> None:
    """`segue doctor`."""
    machine = look_at_machine()
    memory = "none" if machine.shared_memory is None else f"{machine.shared_memory >> 20} MB free"
    console.print(f"{machine.cores} cores, load {machine.load:.1f}, shared memory {memory}")
    advice = machine_notes(machine)
    console.print(f"torch: {_torch()}")
    advice.append(_timer(console, rate, seconds))
    for name, policy in [*_devices(console, run, method), *_remote(console, server, token)]:
        latency = measure_latency(policy, time.perf_counter, CALLS)
        console.print(f"{name}: {_milliseconds(latency)}, horizon {policy.spec.horizon}")
        own = 1 / policy.spec.dt
        advice.append(f"{name}: {recommend(policy.spec.horizon, own, latency).words}")
        policy.close()
    console.print("\nAdvice", style="bold")
    for words in advice:
        console.print(f"- {words}.", soft_wrap=True, highlight=False)


def _milliseconds(seconds: Array) -> str:
    middle, slow, worst = 1e3 * np.quantile(seconds, (0.5, 0.99, 1))
    return f"median {middle:.3g} ms, p99 {slow:.3g} ms, max {worst:.3g} ms"


def _timer(console: Console, rate: float, seconds: float) -> str:
    """Measure with and without spinning, with ordinary and with real-time priority as far as it is granted."""
    table = Table("waiting", "lateness", "missed")
    best: list[Jitter] = []

    def both(label: str) -> list[Jitter]:
        ways = {"sleep": MonotonicClock(spin=0.0), "sleep + spin": MonotonicClock()}
        found = [measure_jitter(clock, rate, seconds) for clock in ways.values()]
        for name, jitter in zip(ways, found, strict=True):
            table.add_row(
                f"{name}, {label}", _milliseconds(jitter.lateness), f"{jitter.missed} of {seconds * rate:.0f}"
            )
        return found

    best = both("ordinary")
    with realtime() as grants:
        if any(grant.granted for grant in grants[:3]):
            best = both("with what is granted")
    console.print(table)
    for grant in grants:
        console.print(str(grant), highlight=False)
    return timer_words(*best)


def _torch() -> str:
    import torch

    devices = ["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices)}"


def _devices(console: Console, run: Path | None, method: str) -> list[tuple[str, ChunkPolicy]]:
    """The policy of a run on every device of this machine."""
    if run is None:
        return []
    import torch

    from segue.methods.load import chunk_policy

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return [(f"{method} on {device}", chunk_policy(run, method, device=device)[0]) for device in devices]


def _remote(console: Console, server: str | None, token: str | None) -> list[tuple[str, ChunkPolicy]]:
    """The policy of a server; without an answer, that is what is said."""
    if server is None:
        return []
    from segue.links.client import RemotePolicy

    try:
        return [(server, RemotePolicy(server, token=token))]
    except SegueError as error:
        console.print(f"{server}: {error}", style="red", markup=False, highlight=False)
        return []
