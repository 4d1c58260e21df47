"""segue doctor: what this machine can promise, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.screen import console
from segue.errors import SegueError

if TYPE_CHECKING:
    from segue.core.chunk import ChunkPolicy
    from segue.core.smoothness import Array
    from segue.runtime.doctor import Jitter

commands = typer.Typer()
CALLS = 30


@commands.command()
def doctor(
    rate: Annotated[float, typer.Option(min=1, max=2000, help="control rate, Hz")] = 50.0,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="per measurement of the timer")] = 2.0,
    run: Annotated[Path | None, typer.Option(help="folder of a trained policy: time its inference")] = None,
    method: options.Method = "predictive",
    server: Annotated[str | None, typer.Option(help="address of a policy server: time its answers")] = None,
    openpi: options.Openpi = None,
    layout: options.Layout = options.ALOHA,
    prompt: options.Prompt = "",
    token: options.Token = None,
) -> None:
    """Measure what this machine can promise a robot. It recommends rate, delay and execution horizon.

    segue doctor --rate 100 --server ws://127.0.0.1:8000
    """
    import time

    from segue.links.worker import measure_latency
    from segue.runtime.doctor import look_at_machine, machine_notes, recommend

    machine = look_at_machine()
    memory = "none" if machine.shared_memory is None else f"{machine.shared_memory >> 20} MB free"
    console.print(f"{machine.cores} cores, load {machine.load:.1f}, shared memory {memory}")
    advice = machine_notes(machine)
    console.print(f"torch: {_torch()}", markup=False, soft_wrap=True)
    advice.append(_timer(rate, seconds))
    policies = [*_devices(run, method), *_remote(server, token), *_openpi(openpi, layout, prompt, rate, token)]
    for name, policy in policies:
        latency = measure_latency(policy, time.perf_counter, CALLS)
        console.print(f"{name}: {_milliseconds(latency)}, horizon {policy.spec.horizon}")
        own = 1 / policy.spec.dt
        advice.append(f"{name}: {recommend(policy.spec.horizon, own, latency).words}")
        policy.close()
    console.print("\nAdvice", style="bold")
    for words in advice:
        console.print(f"- {words}.", soft_wrap=True, highlight=False)


def _milliseconds(seconds: "Array") -> str:
    import numpy as np

    middle, slow, worst = 1e3 * np.quantile(seconds, (0.5, 0.99, 1))
    return f"median {middle:.3g} ms, p99 {slow:.3g} ms, max {worst:.3g} ms"


def _timer(rate: float, seconds: float) -> str:
    """Measure with and without spinning, with ordinary and with real-time priority as far as it is granted."""
    from rich.table import Table

    from segue.runtime.clock import MonotonicClock
    from segue.runtime.doctor import measure_jitter, timer_words
    from segue.runtime.realtime import realtime

    table = Table("waiting", "lateness", "missed")

    def both(label: str) -> "list[Jitter]":
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
    try:
        import torch
    except ImportError:
        return "not installed; a policy on this machine needs it: pip install 'segue[learn]'"
    devices = ["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {', '.join(devices)}"


def _devices(run: Path | None, method: str) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a run on every device of this machine."""
    if run is None:
        return []
    import torch

    from segue.methods.load import chunk_policy

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return [(f"{method} on {device}", chunk_policy(run, method, device=device)[0]) for device in devices]


def _remote(server: str | None, token: str | None) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a server; without an answer, that is what is said."""
    if server is None:
        return []
    from segue.links.client import RemotePolicy

    try:
        return [(server, RemotePolicy(server, token=token))]
    except SegueError as error:
        console.print(f"{server}: {error}", style="red", markup=False, highlight=False)
        return []


def _openpi(
    url: str | None, layout: str, prompt: str, rate: float, token: str | None
) -> "list[tuple[str, ChunkPolicy]]":
    """The policy of a server of openpi, asked with black pictures of the layout's size."""
    if url is None:
        return []
    from segue.links import layouts
    from segue.links.openpi import openpi_policy

    found = layouts.layout(layout)
    sees = found.example(found.rate or rate)
    policy = openpi_policy(url, found, sees, any_actions=found.actions is None, prompt=prompt, token=token)
    steps, actions = policy.spec.chunk_shape
    at = 1 / policy.spec.dt
    console.print(f"{url}: {steps} steps of {actions} actions, {steps / at:.3g} s at {at:g} Hz", highlight=False)
    return [(url, policy)]
