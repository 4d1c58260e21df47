"""segue try: a policy that comes with the package, as usual and with Segue's default, in under a minute."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.options import command_line, console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.lab.report.table import Summary
    from segue.methods.methods import Method

commands = typer.Typer()
RUN = Path(__file__).parents[1] / "lab" / "bundled_run"
"""Policy and predictor of the door task, with the command that made them beside them."""
TASK = "adroit-door"
METHODS = "naive,predictive"
MEASURES = ("success", "jerk_measured", "seam_jump", "mode_switches")


@commands.command("try")
def try_(
    delay: Annotated[int, typer.Option(min=1, max=16, help="of inference, control steps of 10 ms")] = 8,
    episodes: Annotated[int, typer.Option(min=2, help="of each of the two")] = 12,
    film: Annotated[bool, typer.Option("--film/--no-film", help="of the same start under both")] = True,
    out: Annotated[Path, typer.Option(help="folder of report and film")] = Path("runs/try"),
) -> None:
    """See in a minute what Segue changes. A trained policy comes along: nothing is trained.

    A hand opens a door while the policy's answers come late, once as usual and once with the default method.

    segue try
    """
    import os

    if film:
        os.environ.setdefault("MUJOCO_GL", "egl")  # before the simulator is there: it reads it once
    from segue.lab import compare, results
    from segue.lab.delays import Fixed
    from segue.lab.recipes import recipe_for
    from segue.lab.report.page import write_report
    from segue.lab.report.table import console as console_table
    from segue.lab.report.table import summarise
    from segue.lab.tasks import tasks
    from segue.methods.methods import methods

    settings, compared = tasks.task(TASK), tuple(methods(METHODS))
    comparison = compare.Comparison(
        TASK, compared, (Fixed(delay),), recipe_for(TASK), 1, episodes, settings.execution_horizon
    )
    path = compare.evaluate(comparison, [RUN], out=out, workers=1, command=command_line(), console=console)
    content = results.read(path)
    summary, page = summarise(content), path.with_name("report.html")
    console.print(sentence(summary, delay, settings.dt, episodes), style="bold", highlight=False)
    console.print(console_table(summary, MEASURES))
    if pictures := _filmed(compared, delay, settings.execution_horizon) if film else b"":
        (out / "film.webp").write_bytes(pictures)
        write_report(content, page, {f"The same start, {delay} steps of delay": pictures})
        console.print(f"film:   {(out / 'film.webp').resolve()}", soft_wrap=True)
    console.print(f"report: {page.resolve()}", soft_wrap=True)
    console.print("next:   segue demo trains such a policy; docs/start.md leads to a robot of yours", soft_wrap=True)


def sentence(summary: "Summary", delay: int, dt: float, episodes: int) -> str:
    """Who solved what, whatever came out."""
    naive, ours = (round(episodes * summary.interval(name, delay, "success").value) for name in METHODS.split(","))
    return (
        f"With {1000 * dt * delay:.0f} ms of delay the policy opened the door in {naive} of {episodes} episodes as "
        f"usual, and in {ours} of {episodes} with Segue's default."
    )


def _filmed(compared: "Sequence[Method]", delay: int, steps: int) -> bytes:
    """The film; empty where nothing on this machine can render."""
    from segue.errors import SegueError
    from segue.lab.report.film import film

    try:
        with console.status("filming"):
            return film(TASK, RUN, compared, delay, steps)
    except SegueError as error:
        console.print(f"no film: {error}", highlight=False, markup=False)
        return b""
