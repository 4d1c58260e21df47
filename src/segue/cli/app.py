"""The command line: collects the commands, and turns errors into messages."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from segue.cli import comparison, doctor, recordings, reports, run, serve, training, trial
from segue.errors import SegueError, said_what_to_install

app = typer.Typer(
    help="Action-chunking robot policies that continue without a seam.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help as plain text: every command's on one screen
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},
)
for group in (trial, training, comparison, reports, run, doctor, serve, recordings):
    app.add_typer(group.commands)


def _version(wanted: bool) -> None:
    if wanted:
        import segue

        typer.echo(f"segue {segue.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def open_standard_streams() -> None:
    """Put nothing in the place of standard streams that are closed, where files and pipes of ours would come to lie."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest number that is free is this one
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def main() -> None:
    """Entry point: errors that Segue raises on purpose are shown without a traceback, with exit status 1."""
    open_standard_streams()
    try:
        with said_what_to_install("this command"):
            app()
    except SegueError as error:
        screen = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        screen.print("error:", style="bold red", end=" ")
        screen.print(
            "".join(c if c.isprintable() or c == "\n" else "?" for c in str(error))
        )  # names of strangers' files
        sys.exit(1)
    except MemoryError:
        Console(stderr=True).print(
            "error: out of memory\n  change:   fewer --workers, fewer --episodes, or a smaller network", markup=False
        )
        sys.exit(1)
