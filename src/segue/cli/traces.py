"""segue replay, and segue report of a trace."""

from pathlib import Path

from rich.console import Console

from segue.errors import DataError
from segue.lab.report.trace_page import console_tables, measures_of, write_trace_report
from segue.trace.file import read
from segue.trace.measures import episode_records
from segue.trace.replay import replay
from segue.trace.summary import summarise_run


def trace_report_command(console: Console, path: Path, out: Path | None) -> None:
    """`segue report` of a trace."""
    trace = read(path)
    for table in console_tables(summarise_run(trace), measures_of(episode_records(trace))):
        console.print(table)
    page = write_trace_report(trace, out or path.with_suffix(".html"), title=f"Run {path.stem}")
    console.print(f"report: {page.resolve()}", soft_wrap=True)


def replay_command(console: Console, path: Path) -> None:
    """`segue replay`.

    Raises:
        DataError: The plan decides something else than the trace says.
    """
    found = replay(read(path))
    if found.difference is not None:
        where = found.difference
        raise DataError(
            got=f"{where.place}, after {found.ticks:,} ticks that agree: the plan says {where.replayed}",
            expected=f"what the trace says: {where.recorded}",
            change="replay with the version of Segue that recorded the trace, or look at what has changed in the plan",
        )
    console.print(
        f"{path}: {found.ticks:,} ticks, {found.requests:,} requests and {found.deliveries:,} deliveries, "
        "and the plan decides the same in each of them",
        soft_wrap=True,
    )
