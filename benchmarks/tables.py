"""Write the tables of results/**/results.json into README.md, between its markers.

    python benchmarks/tables.py            rewrites README.md
    python benchmarks/tables.py --check    changes nothing; exit status 1 when README.md is not what the results say

The table of results/NAME/results.json goes between ``<!-- results:NAME -->`` and ``<!-- /results:NAME -->``. Those of
results/seams/TASK compare chunks of actions with latent ones at the seams, in columns of their own, and those of
results/rates/TASK a high with a low action rate.
"""

import argparse
import re
import sys
from pathlib import Path

from rich.console import Console

from segue.evaluation import rates_report, results, table
from segue.evaluation.frontier import TRADE, frontier_lines

SEAMS, RATES = "seams/", "rates/"
COLUMNS = ("score", *TRADE)
AT_SEAMS = (
    "success",
    "completion_time",
    "overlap_rmse",
    "seam_jump",
    "jerk_measured",
    "jerk_command_step",
    "stall_time",
)
MARKED = re.compile(r"(<!-- results:(?P<name>\S+) -->\n).*?(<!-- /results:(?P=name) -->)", re.DOTALL)


def block(path: Path, name: str) -> str:
    """What stands between the markers: where it comes from, the verdict, the table."""
    if not path.is_file():
        return f"Not measured yet: `{missing(name)}`.\n"
    content = results.read(path)
    summary = table.summarise(content)
    origin = f"`{content['command']}`"
    if content.get("commit"):
        origin += f" at commit {content['commit']}"
    if name.startswith(RATES):
        facts = ", ".join(rates_report.facts(content))
        return f"{origin}: {facts}.\n\n{rates_report.markdown(content, summary)}"
    facts = ", ".join(fact for fact in table.facts(content, summary) if fact)
    lines = "".join(f"- {line}\n" for line in frontier_lines(summary))
    columns = AT_SEAMS if name.startswith(SEAMS) else COLUMNS
    shown = table.markdown(summary, [metric for metric in columns if metric in summary.metrics])
    return f"{origin}: {facts}.\n\n{table.verdict(summary)}\n\n{lines}\n{shown}"


def missing(name: str) -> str:
    """The command that measures what is not there yet."""
    if name.startswith(RATES):
        return f"segue bench rates --env {name.removeprefix(RATES)}"
    return "make seams" if name.startswith(SEAMS) else f"segue bench {name}"


def filled(readme: str, folder: Path) -> str:
    """The README with every marked block written again."""
    return MARKED.sub(
        lambda found: found[1] + block(folder / found["name"] / "results.json", found["name"]) + found[3], readme
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true", help="only compare")
    chosen = parser.parse_args()
    console = Console(highlight=False)
    before = chosen.readme.read_text()
    after = filled(before, chosen.results)
    marked = {found["name"] for found in MARKED.finditer(before)}
    for path in sorted(chosen.results.glob("**/results.json")):
        name = path.parent.relative_to(chosen.results).as_posix()
        console.print(f"{path}: " + ("in the README" if name in marked else f"no marker results:{name} in the README"))
    if chosen.check and after != before:
        console.print(f"{chosen.readme} is not what {chosen.results} says; change: python benchmarks/tables.py")
        sys.exit(1)
    if not chosen.check and after != before:
        chosen.readme.write_text(after)
        console.print(f"{chosen.readme} written")


if __name__ == "__main__":
    main()
