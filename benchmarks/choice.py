"""Write the tables of docs/choose.md from results/**/results.json, between its markers.

    python benchmarks/choice.py            rewrites docs/choose.md
    python benchmarks/choice.py --check    changes nothing; exit status 1 when the page is not what the results say

A setting is a task and a delay. A method is among the best in a measure where it has the best mean, or is not clearly
behind it episode by episode, as in docs/results; it is on the frontier where no other method is at least as good
in every measure of the trade and better in one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import marked
import numpy as np

from segue.core.metrics import METRICS
from segue.lab import results
from segue.lab.report import table
from segue.lab.report.frontier import TRADE, dominating
from segue.lab.report.table import Summary

TASKS = ("adroit-door", "push-t", "metaworld/peg-insert-side", "metaworld/pick-place")
"""Those on which every method is measured."""
PEN = "adroit-pen"
ASIDE = (PEN, "push-t-pixels")
"""On which some are; they have pages of their own, and are not counted among the settings."""
ANSWERS = ("naive", "rtc", "predictive", "predictive-legato")
CASES = (
    ("you cannot train the policy again", "predictive", 8, TASKS),
    ("you can", "predictive-legato", 8, TASKS),
    ("inference is slow: 12 steps", "predictive-legato", 12, TASKS),
    ("the task is [precise](results/peg-insert-side.md): a peg", "predictive-legato", 8, TASKS[2:3]),
    ("there are [several ways](results/push-t.md) of doing it: Push-T", "predictive", 8, TASKS[1:2]),
    ("things move on their own: a [pen](results/pen.md) in a hand", "predictive", 8, ASIDE[:1]),
    ("the policy sees [pictures](vision.md): Push-T from pixels", "predictive", 8, ASIDE[1:]),
)
"""What somebody has, what to take then, and the delay and tasks that say so."""
FIELD = (4, 8)
"""Delays at which the methods of the field are measured [steps], on the pen too."""
OVERVIEW = 8
"""Delay at which all methods are shown side by side [steps]."""
SHORT = {
    "adroit-door": "door",
    "push-t": "Push-T",
    "metaworld/peg-insert-side": "peg",
    "metaworld/pick-place": "pick and place",
    PEN: "pen",
}
WINNERS = ("success", "jerk_measured", "mode_switches")
KIND = "choice"


class Setting(NamedTuple):
    """A task and a delay [steps], which takes ``seconds``."""

    task: str
    delay: int
    seconds: float
    summary: Summary


def settings(folder: Path, tasks: Sequence[str] = TASKS) -> list[Setting]:
    """Of every task that has results."""
    found = []
    for task in tasks:
        if not (path := folder / task / "results.json").is_file():
            continue
        content = results.read(path)
        summary = table.summarise(content)
        used = {key: sample for key, sample in summary.samples.items() if key[2] in ("score", *TRADE)}
        summary = replace(summary, samples=used)  # intervals of the other measures would take most of the time
        found += [Setting(task, delay, delay * content.task.dt, summary) for delay in summary.delays]
    return found


def rows(header: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, numbers to the right."""
    rule = [":---" if not body or isinstance(cell, str) else "---:" for cell in body[0]]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in (header, rule, *body))


def answers(every: Sequence[Setting]) -> str:
    """What to take in each case, and the success of some methods (on Push-T the score), the mean over its tasks."""
    header = ["if ...", "take", *(f"`{name}`" for name in ANSWERS)]
    body = []
    for case, take, delay, tasks in CASES:
        cells = [at for at in every if at.delay == delay and at.task in tasks]
        means = {name: achieved(cells, name) for name in ANSWERS}
        means[take] = f"**{means[take]}**" if means[take] else ""
        body.append(
            [case, f"[`{take}`](methods.md#{take})", *(means.values() if cells else ["being measured", "", "", ""])]
        )
    return rows(header, body)


def achieved(cells: Sequence[Setting], name: str) -> str:
    """The mean of a method over settings, where it was measured in all of them."""
    keys = [(name, at.delay, "score" if at.task.startswith("push-t") else "success") for at in cells]
    found = [at.summary.interval(*key).value for at, key in zip(cells, keys, strict=True)]
    return f"{np.mean(found):.2f}" if found and np.isfinite(found).all() else ""


def standings(every: Sequence[Setting]) -> str:
    """How often each method is among the best in each measure, and on the frontier."""
    everywhere = set.intersection(*(set(at.summary.at(at.delay)) for at in every))
    labels = {name: label for name, label in every[0].summary.labels.items() if name in everywhere}
    header = ["method", *(METRICS[metric].label.lower() for metric in TRADE), "on the frontier"]
    body = [
        [f"[{label}]({section_of(name)})"]
        + [sum(at.summary.among_best(name, at.delay, metric) for at in every) for metric in TRADE]
        + [sum(not dominating(at.summary, name, at.delay) for at in every)]
        for name, label in labels.items()
    ]
    return f"Among the best in how many of {len(every)} settings:\n\n{rows(header, body)}"


def field(every: Sequence[Setting]) -> str:
    """The standings where every method of the field is measured."""
    return standings([at for at in every if at.delay in FIELD and at.task in (*TASKS, PEN)])


def overview(every: Sequence[Setting]) -> str:
    """Success of every method on each task (on Push-T the score) at 8 steps, by its mean over those that all have."""
    those = [at for at in every if at.delay == OVERVIEW and at.task in (*TASKS, PEN)]
    labels = {
        name: label for at in those for name, label in at.summary.labels.items() if name in at.summary.at(OVERVIEW)
    }
    means = {name: achieved([at for at in those if at.task in TASKS], name) for name in labels}
    header = [
        "method",
        *(f"[{SHORT[at.task]}](results/{page_of(at.task)}.md)" for at in those),
        "mean of four",
    ]
    body = [
        [f"[{labels[name]}]({section_of(name)})", *(achieved([at], name) for at in those), means[name]]
        for name in sorted(labels, key=lambda name: means[name] or "0", reverse=True)
    ]
    return rows(header, body)


def winners(every: Sequence[Setting]) -> str:
    """The best mean of each setting, and, folded, who cannot be told from it."""
    header = ["task", "delay", *(METRICS[metric].label.lower() for metric in WINNERS)]
    body = [
        [f"[`{at.task.rpartition('/')[2]}`](results/{page_of(at.task)}.md)", f"{at.delay} ({1000 * at.seconds:.0f} ms)"]
        + [winner(at.summary, at.delay, metric) for metric in WINNERS]
        for at in every
    ]
    return rows(header, body)


def section_of(name: str) -> str:
    """Of the page about methods."""
    kind = name.partition(":")[0]
    return f"methods.md#{'methods-of-other-packages' if '.' in kind else kind}"


def page_of(task: str) -> str:
    """Of docs/results."""
    return "pen" if task == "adroit-pen" else task.rpartition("/")[2]


def winner(summary: Summary, delay: int, metric: str) -> str:
    """The best, and folded behind it those that are not clearly behind."""
    standing = summary.standing(delay, metric)
    assert standing is not None, "the page's measures are measured"
    names = ", ".join(f"`{name}`" for name in standing.rivals)
    count = len(standing.rivals)
    others = f"<details><summary>or {count} {'other' if count == 1 else 'others'}</summary>{names}</details>"
    return f"**`{standing.best}`**{others if names else ''}"


TABLES = {"answers": answers, "standings": standings, "field": field, "overview": overview, "winners": winners}


def filled(page: str, every: Sequence[Setting], aside: Sequence[Setting] = ()) -> str:
    """The page with every marked table written again."""
    settings_of = {name: [*every, *aside] for name in ("answers", "field", "overview")}
    return marked.filled(page, KIND, lambda name: TABLES[name](settings_of.get(name, every)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("docs/choose.md"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--check", action="store_true", help="only compare")
    chosen = parser.parse_args()
    after = filled(chosen.page.read_text(), settings(chosen.results), settings(chosen.results, ASIDE))
    marked.update(chosen.page, after, check=chosen.check, source=chosen.results)


if __name__ == "__main__":
    main()
