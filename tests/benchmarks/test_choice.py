"""The page that helps to choose a method says what the results say."""

import runpy
from pathlib import Path
from typing import Any

import marked
import pytest

from fakes.summaries import BASE, summary
from segue.lab.report.frontier import TRADE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "choose.md"
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "choice.py"))


@pytest.fixture(scope="module")
def every() -> list[Any]:
    return SCRIPT["settings"](ROOT / "results")


def test_the_page_is_what_the_results_say(every: list[Any]) -> None:
    assert marked.names(PAGE.read_text(), SCRIPT["KIND"]) == ["standings", "winners"]
    assert SCRIPT["filled"](PAGE.read_text(), every) == PAGE.read_text()


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


def test_the_best_comes_first_and_those_beside_it_after() -> None:
    known = summary({"one": BASE, "other": BASE, "smooth": (0.0, 3.0, 5.0, 0.05, 0.5)}, None)
    text = SCRIPT["winners"]([SCRIPT["Setting"]("synthetic", 4, 0.04, known)])
    assert "| `synthetic` | 4 (40 ms) | **`one`**, `other` | **`smooth`** | **`smooth`** |" in text
