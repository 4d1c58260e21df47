"""The page that helps to choose a method says what the results say."""

import runpy
from pathlib import Path
from typing import Any

import marked
import pytest

from fakes.summaries import BASE, cell, comparison, decoded, summary
from segue.lab.report.frontier import TRADE
from segue.lab.report.table import summarise

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "choose.md"
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "choice.py"))


@pytest.fixture(scope="module")
def every() -> list[Any]:
    return SCRIPT["settings"](ROOT / "results")


def test_the_page_is_what_the_results_say(every: list[Any]) -> None:
    assert marked.names(PAGE.read_text(), SCRIPT["KIND"]) == ["answers", "standings", "overview", "field", "winners"]
    aside = SCRIPT["settings"](ROOT / "results", SCRIPT["ASIDE"])
    assert SCRIPT["filled"](PAGE.read_text(), every, aside) == PAGE.read_text()


def test_no_method_is_among_the_best_in_every_measure_and_setting(every: list[Any]) -> None:
    for name in every[0].summary.labels:
        assert not all(at.summary.among_best(name, at.delay, metric) for at in every for metric in TRADE)


def test_what_the_page_says_of_the_predictor_without_guidance_is_so(every: list[Any]) -> None:
    name = "naive:predictor=learned:noise=carried:share=0.5:scale=0.7"
    page = (ROOT / "docs" / "choose.md").read_text()
    best = sum(at.summary.among_best(name, at.delay, "success") for at in every)
    assert f"`{name}`" in page
    assert f"among the best in success in {best} of the {len(every)} settings" in page


def test_standings_of_methods_whose_values_are_known() -> None:
    worse = (1.0, 2.0, 10.0, 0.1, 2.0)
    known = summary({"ours": BASE, "worse": worse, "smooth": (0.0, 3.0, 5.0, 0.05, 0.5)}, "ours")
    text = SCRIPT["standings"]([SCRIPT["Setting"]("synthetic", 4, 0.04, known)])
    assert "| [ours](methods.md#ours) | 1 | 1 | 0 | 0 | 0 | 1 |" in text
    assert "| [worse](methods.md#worse) | 1 | 1 | 0 | 0 | 0 | 0 |" in text
    assert "| [smooth](methods.md#smooth) | 0 | 0 | 1 | 1 | 1 | 1 |" in text


def test_the_field_is_counted_where_all_of_it_is_measured() -> None:
    known = summary({"ours": BASE, "other": (1.0, 2.0, 10.0, 0.1, 2.0)}, "ours")
    text = SCRIPT["field"](
        [SCRIPT["Setting"](task, delay, 0.01 * delay, known) for task in ("push-t", "other") for delay in (4, 12)]
    )
    assert "in how many of 1 settings" in text
    assert "| [other](methods.md#other) | 1 | 1 | 1 | 1 | 0 | 0 |" in text


def test_of_every_method_success_stands_per_task_and_the_best_mean_is_first() -> None:
    """Three of four, and all of them; of Push-T the score; a method that one task lacks is last."""
    labels = {"naive": "Naive", "predictive": "Predictive", "vlash": "VLASH"}
    every = []
    for task, names in (
        ("adroit-door", ("naive", "predictive")),
        ("push-t", tuple(labels)),
        ("adroit-pen", ("naive",)),
    ):
        columns = {name: {"success": [1, 1, 1, int(name == "predictive")], "score": [0.5] * 4} for name in names}
        found = summarise(decoded(comparison(labels, [cell(name, 8, each) for name, each in columns.items()])))
        every.append(SCRIPT["Setting"](task, 8, 0.08, found))
    header, _, *rows = SCRIPT["overview"](every).splitlines()
    assert header.startswith(
        "| method | [door](results/adroit-door.md) | [Push-T](results/push-t.md) | [pen](results/pen.md) |"
    )
    assert rows == [
        "| [Predictive](methods.md#predictive) | 1.00 | 0.50 |  | 0.75 |",
        "| [Naive](methods.md#naive) | 0.75 | 0.50 | 0.75 | 0.62 |",
        "| [VLASH](methods.md#vlash) |  | 0.50 |  |  |",
    ]


def test_the_best_comes_first_and_those_beside_it_after() -> None:
    known = summary({"one": BASE, "other": BASE, "smooth": (0.0, 3.0, 5.0, 0.05, 0.5)}, None)
    text = SCRIPT["winners"]([SCRIPT["Setting"]("any/synthetic", 4, 0.04, known)])
    first = "**`one`**<details><summary>or 1 other</summary>`other`</details>"
    row = f"| [`synthetic`](results/synthetic.md) | 4 (40 ms) | {first} | **`smooth`** | **`smooth`** |"
    assert row in text


def test_answers_are_means_over_the_tasks_of_a_case() -> None:
    """Success in three of four episodes and in all of them, but of Push-T the score; unmeasured is empty."""
    labels = {"naive": "Naive", "predictive": "Predictive"}
    every = []
    for task, share in (("adroit-door", [1, 1, 1, 0]), ("push-t", [0, 0, 0, 0])):
        cells = [cell(name, 8, {"success": share, "score": [1, 1, 1, 1]}) for name in labels]
        every.append(SCRIPT["Setting"](task, 8, 0.08, summarise(decoded(comparison(labels, cells)))))
    rows = SCRIPT["answers"](every).splitlines()
    assert rows[2].endswith("| [`predictive`](methods.md#predictive) | 0.88 |  | **0.88** |  |")
    assert rows[3].endswith("| 0.88 |  | 0.88 |  |")
    assert next(row for row in rows if "Push-T |" in row).endswith("| 1.00 |  | **1.00** |  |")
    assert next(row for row in rows if "pen" in row).endswith("| being measured |  |  |  |")
