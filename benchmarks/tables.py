"""Write the tables of results/**/results.json into the pages that show them, between their markers.

    python benchmarks/tables.py            rewrites them
    python benchmarks/tables.py --check    changes nothing; exit status 1 when one is not what the results say

The table of results/NAME/results.json goes between ``<!-- results:NAME -->`` and ``<!-- /results:NAME -->``. Those of
results/seams/TASK compare chunks of actions with latent ones at the seams, and those of results/contact/TASK are of
contact-rich tasks, in columns of their own; those of results/rates/TASK compare a high with a low action rate, and
those of results/jitter/TASK and results/heavy-tail/TASK have delays that vary, and those of results/equal-hardware/TASK
a delay per method. What benchmarks/disturbances.py measured of a task goes between ``<!-- disturbances:TASK -->``
markers.
"""

import argparse
import json
from pathlib import Path

import disturbances
import marked
from choice import PEN, TASKS
from rich.console import Console

from segue.lab import results
from segue.lab.rates import report
from segue.lab.report import table, verdict
from segue.lab.report.frontier import TRADE, frontier_lines

RESULTS = ("adroit-door", "pen", "push-t", "peg-insert-side", "pick-place", "equal-hardware", "seams", "rates")
PAGES = tuple(
    f"docs/{name}.md" for name in (*(f"results/{each}" for each in RESULTS), "latent", "vision", "choose", "tuning")
)
SEAMS, CONTACT, RATES, HARDWARE = "seams/", "contact/", "rates/", "equal-hardware/"
VARYING = ("jitter", "heavy-tail")
COLUMNS = ("score", *TRADE)
IN_CONTACT = ("score", "success", "seam_jump", "jerk_measured", "stall_time")
AT_SEAMS = (
    *("success", "completion_time", "overlap_rmse", "seam_jump", "jerk_measured", "jerk_command_step"),
    "stall_time",
)
KIND = "results"


def block(path: Path, name: str) -> str:
    """What stands between the markers: where it comes from, the verdict, the table."""
    if not path.is_file():
        return f"Not measured yet: `{missing(name)}`.\n"
    content = results.read(path)
    summary = table.summarise(content)
    origin = f"`{content.command}`" + (f" at commit {content.commit}" if content.commit else "")
    origin += f": {', '.join(table.facts(content, summary))}.\n\n"
    if name.startswith(RATES):
        return origin + report.markdown(content, summary)
    lines = "".join(f"- {line}\n" for line in frontier_lines(summary))
    columns = AT_SEAMS if name.startswith(SEAMS) else IN_CONTACT if name.startswith(CONTACT) else COLUMNS
    costs = inference_costs(path.parents[name.count("/") + 1]) if name.removeprefix(HARDWARE) in (*TASKS, PEN) else {}
    shown = table.markdown(summary, [metric for metric in columns if metric in summary.metrics], costs)
    return f"{origin}{verdict.verdict(summary)}\n\n{lines}\n{shown}"


def inference_costs(folder: Path) -> dict[str, dict[str, str]]:
    """What an inference costs over a naive one, as benchmarks/costs.py measured it."""
    if not (path := folder / "costs.json").is_file():
        return {}
    ratios = json.loads(path.read_text())["ratios"]
    return {"Inference [x naive]": {name: f"{middle:.1f}" for name, (_, middle, _) in ratios.items()}}


def missing(name: str) -> str:
    """The command that measures what is not there yet."""
    if name.startswith(RATES):
        return f"segue rates {name.removeprefix(RATES)}"
    kind, _, task = name.partition("/")
    if kind in VARYING:
        return f"segue bench {task} --delays 8 --delay-model {kind}"
    if name.startswith((SEAMS, HARDWARE)):
        return f"make {kind}"
    return f"segue bench {name}"


def filled(page: str, folder: Path) -> str:
    """A page with every marked block written again."""
    page = marked.filled(page, KIND, lambda name: block(folder / name / "results.json", name))
    measured = folder / "disturbances"
    return marked.filled(page, "disturbances", lambda name: disturbances.block(measured / f"{name}.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, nargs="+", default=[Path(page) for page in PAGES])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true", help="only compare")
    chosen = parser.parse_args()
    console, shown = Console(highlight=False), set[str]()
    for page in chosen.pages:
        before = page.read_text()
        shown |= set(marked.names(before, KIND))
        marked.update(page, filled(before, chosen.results), check=chosen.check, source=chosen.results)
    for path in sorted(chosen.results.glob("**/results.json")):
        if (name := path.parent.relative_to(chosen.results).as_posix()) not in shown:
            console.print(f"{path}: no marker results:{name} in {', '.join(map(str, chosen.pages))}")


if __name__ == "__main__":
    main()
