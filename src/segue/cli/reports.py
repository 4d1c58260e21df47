"""segue report | replay: what was measured, on the screen and as a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.options import console
from segue.errors import DataError

if TYPE_CHECKING:
    from segue.lab.results import Results

commands = typer.Typer()
FILMED = ("naive", "rtc", "rtc-identity", "predictive")


@commands.command()
def report(
    results: Annotated[
        Path, typer.Argument(help="results.json of eval, bench, rates or demo, its folder, or a trace of run")
    ],
    out: Annotated[
        Path | None, typer.Option(help="the HTML file", show_default="report.html beside the results")
    ] = None,
    film: Annotated[Path | None, typer.Option(help="run with the policies: film one seed under each method")] = None,
    methods: Annotated[
        str | None, typer.Option(help="of the film, with commas: of `segue list`, or module:Name")
    ] = None,
    task: Annotated[str | None, typer.Option(help="of the film, where it is one of your own: module:TASK")] = None,
    delay: Annotated[int, typer.Option(min=0, help="inference delay of the film, control steps")] = 8,
) -> None:
    """Write the report of results or of a recorded run.

    It is one HTML file that opens offline; its tables are also shown on the screen.

    segue report results/adroit-door/results.json
    """
    from segue.trace.file import is_trace

    if is_trace(held := _held(results, "results.json", "trace")):
        return _show_trace(held, out or held.with_suffix(".html"))
    show(held, out, None if film is None else Film(film, delay, methods, task))


@commands.command()
def replay(trace: Annotated[Path, typer.Argument(help="trace of a run")]) -> None:
    """Drive the plan again from a recorded run. It says whether the plan decides the same.

    segue replay runs/adroit-door/run/20260101-120000/trace
    """
    from segue.trace.file import read
    from segue.trace.replay import replay as replayed

    found = replayed(read(_held(trace, "trace")))
    if found.difference is not None:
        where = found.difference
        raise DataError(
            got=f"{where.place}, after {found.ticks:,} ticks that agree: the plan says {where.replayed}",
            expected=f"what the trace says: {where.recorded}",
            change="replay with the version of Segue that recorded the trace, or look at what has changed in the plan",
        )
    console.print(
        f"{trace}: {found.ticks:,} ticks, {found.requests:,} requests and {found.deliveries:,} deliveries, "
        "and the plan decides the same in each of them",
        soft_wrap=True,
    )


def _held(path: Path, *names: str) -> Path:
    """What a folder holds under one of these names; anything but a folder, and a trace, is what it is.

    Raises:
        DataError: The folder holds none; it says which lies below, of several the latest.
    """
    from segue.trace.file import is_trace

    if not path.is_dir() or is_trace(path):
        return path
    for name in names:
        if (held := path / name).exists():
            return held
    found = [each for name in names for above in ("*", "*/*", "*/*/*") for each in path.glob(f"{above}/{name}")]
    latest = max(found, key=lambda each: each.stat().st_mtime, default=None)
    raise DataError(
        got=f"the folder {path}, which holds no {' and no '.join(names)}",
        expected=f"{' or '.join(names)}, or the folder that it is in",
        change="check the path" if latest is None else f"the latest below it is {latest}",
    )


def _show_trace(path: Path, page: Path) -> None:
    from segue.lab.report.trace_page import console_tables, measures_of, write_trace_report
    from segue.trace.file import read
    from segue.trace.measures import episode_records
    from segue.trace.summary import summarise_run

    trace = read(path)
    summary = summarise_run(trace)
    for line in summary.findings():
        console.print(line, style="bold", highlight=False)
    for table in console_tables(summary, measures_of(episode_records(trace))):
        console.print(table)
    _say_where(write_trace_report(trace, page, title=f"Run {path.stem}"))


@dataclass(frozen=True)
class Film:
    """What is filmed.

    Attributes:
        run: Whose policies.
        delay: Inference delay [control steps].
        methods: With commas; None for those of the results that have a short name.
        task: None for that of the results. One that imports a module is only taken from the user, not from a file.
    """

    run: Path
    delay: int
    methods: str | None = None
    task: str | None = None


def show(path: Path, out: Path | None = None, film: Film | None = None) -> None:
    """Results on the screen and as a page, which is drawn.

    Args:
        path: The results.
        out: The page; None for one beside the results.
        film: To go with it; None for none.
    """
    from segue.lab import results
    from segue.lab.report.page import write_report

    content, page = results.read(path), out or path.with_name("report.html")
    with results.understood(path):
        if content.rates:
            return _show_rates(content, page)
        _say(content)
        _say_where(write_report(content, page, {} if film is None else _films(content, film)))


def show_compared(path: Path) -> None:
    """Results of a comparison on the screen; the comparison has drawn the page beside them."""
    from segue.lab import results

    _say(results.read(path))
    _say_where(path.with_name("report.html"))


def _say(content: "Results") -> None:
    from segue.lab.report import table
    from segue.lab.report.frontier import frontier_lines
    from segue.lab.report.verdict import headline, verdict

    summary = table.summarise(content)
    console.print(headline(summary), style="bold", highlight=False, markup=False)
    console.print(table.console(summary))
    console.print(verdict(summary), markup=False)
    for line in frontier_lines(summary):
        console.print(line, highlight=False, markup=False)


def _show_rates(content: "Results", page: Path) -> None:
    from segue.lab.rates import report
    from segue.lab.report.table import summarise

    summary = summarise(content)
    console.print(report.said(content, summary), style="bold", highlight=False, markup=False)
    console.print(report.open_loop_table(content))
    console.print(report.closed_loop_table(content, summary))
    for line in report.not_applicable(content):
        console.print(f"not measured: {line}", highlight=False, markup=False)
    _say_where(report.write_page(content, page))


def _say_where(page: Path) -> None:
    console.print(f"report: {page.resolve()}", soft_wrap=True)


def _films(content: "Results", film: Film) -> dict[str, bytes]:
    from segue.lab.report.film import film as filmed
    from segue.lab.tasks import tasks
    from segue.methods.methods import METHODS, methods

    name = film.task or content.task.name
    if film.task is None and name not in tasks.names():
        raise DataError(f"results of the task {name}", "a task that you name yourself", f"--task {name}")
    there = [METHODS[each.name] for each in content.methods if each.name in METHODS]
    usual = [each for each in there if each.name in FILMED] or there
    rows = usual if film.methods is None else methods(film.methods)
    steps = tasks.task(name).execution_horizon
    title = f"The same seed under each method, delay {film.delay}"
    return {title: filmed(name, film.run, rows, film.delay, steps)}
