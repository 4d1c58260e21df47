"""segue bench rates, once its arguments are read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from segue.errors import SpecError
from segue.lab import results
from segue.lab.rates import run
from segue.lab.rates.rates import quick, rates_for
from segue.lab.tasks import tasks


def rates_command(
    console: Console,
    env: str | None,
    *,
    latency: float,
    short: bool,
    unused: Sequence[str],
    families: str | None,
    training_seeds: int,
    episodes: int | None,
    updates: int | None,
    workers: int,
    runs: Path | None,
    out: Path | None,
    command: str,
) -> None:
    """`segue bench rates`."""
    if env is None or unused:
        raise SpecError(
            got=" and ".join(unused) or "no task",
            expected="the task as --env; which rows and which delay there are is part of the protocol",
            change="segue bench rates --env adroit-door",
        )
    settings = tasks.task(env)
    spec = settings.simulator().spec
    if settings.dt > 0.025:
        raise SpecError(
            got=f"{env} at {1 / settings.dt:g} Hz",
            expected="a task with a control rate of at least 40 Hz, a quarter of which is the low rate",
            change="take adroit-door or metaworld/peg-insert-side",
        )
    protocol = replace(rates_for(settings, len(spec.action_names), delay=latency), training_seeds=training_seeds)
    protocol = quick(protocol) if short else protocol
    chosen = {"episodes": episodes, "updates": updates, "autoencoder_updates": updates}
    if families is not None:
        protocol = replace(protocol, families=tuple(families.split(",")))
    protocol = replace(protocol, **{name: value for name, value in chosen.items() if value is not None})
    folder = Path("rates-quick" if short else "rates") / env
    path = run.run(
        protocol, runs=runs or Path("runs") / folder, out=out or Path("results") / folder, workers=workers,
        command=command, console=console,
    )  # fmt: skip
    show_rates(console, results.read(path), path.with_name("report.html"))


def show_rates(console: Console, content: results.Results, page: Path) -> None:
    """The end of `segue bench rates`, and `segue report` for its results: tables on the screen and as a page."""
    from segue.lab.rates import report
    from segue.lab.report.table import summarise

    console.print(report.open_loop_table(content))
    console.print(report.closed_loop_table(content, summarise(content)))
    for line in report.not_applicable(content):
        console.print(f"not measured: {line}", highlight=False, markup=False)
    console.print(f"report: {report.write_page(content, page).resolve()}", soft_wrap=True)


def only_rates_has(env: str | None, families: str | None, short: bool, latency: bool) -> None:
    """Raise for options of `segue bench rates` with another comparison."""
    options = {"--env": env is not None, "--families": families is not None, "--quick": short, "--latency": latency}
    given = [name for name, there in options.items() if there]
    if given:
        raise SpecError(
            got=" and ".join(given),
            expected="these options with `rates` only",
            change="segue bench rates --env TASK, or segue bench TASK",
        )
