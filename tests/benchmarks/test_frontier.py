"""The pictures of the frontier: which methods make a curve, and who is on the frontier."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

from fakes.summaries import cell, comparison

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "frontier.py"))


def found(*names: str) -> set[tuple[str, tuple[float, ...], tuple[str, ...]]]:
    return {(curve.knob, curve.values, curve.names) for curve in SCRIPT["curves"](names)}


def test_methods_that_differ_in_one_number_are_a_curve_in_its_order() -> None:
    assert found("predictive:ramp_seconds=2.4", "sync", "predictive", "predictive:ramp_seconds=0.4") == {
        ("ramp_seconds", (0.4, 1.2, 2.4), ("predictive:ramp_seconds=0.4", "predictive", "predictive:ramp_seconds=2.4")),
        ("", (), ("sync",)),
    }


def test_a_method_may_lie_on_a_curve_for_each_of_its_knobs() -> None:
    carried, calm = "naive:noise=carried:share=0.5", "naive:scale=0.7"
    assert found("naive", carried, calm) == {
        ("share", (0.0, 0.5), ("naive", carried)),
        ("scale", (0.7, 1.0), (calm, "naive")),
    }


def test_methods_that_differ_in_more_or_in_what_they_are_make_no_curve() -> None:
    names = (
        "naive",
        "naive:predictor=learned",
        "naive:noise=carried:share=0.5:scale=0.7",
        "rtc",
        "rtc-identity:clip=2",
    )
    assert found(*names) == {("", (), (name,)) for name in names}


def test_a_curve_is_named_after_what_its_methods_have_in_common() -> None:
    [curve] = SCRIPT["curves"](["rtc:predictor=learned:clip=1", "rtc:predictor=learned:clip=2"])
    assert curve.label == "RTC, predicted"


def test_the_frontier_are_those_that_none_dominates() -> None:
    points = {"best": (1.0, 2.0, 9.0), "calm": (0.5, 3.0, 1.0), "behind": (0.5, 3.0, 2.0), "quick": (0.1, 1.0, 9.0)}
    assert SCRIPT["frontier"](points) == {"best", "calm", "quick"}


def test_only_what_has_results_is_drawn(tmp_path: Path) -> None:
    def at(method: str, delay: int, success: float, jerk: float | None) -> dict[str, Any]:
        return cell(method, delay, {"success": [success], "completion_time": [2.0], "jerk_measured": [jerk]})

    cells = [at("naive", 4, 1.0, 3.0), at("naive:scale=0.7", 4, 0.0, 1.0), at("sync", 4, 1.0, None)]
    content = comparison({"naive": "Naive", "naive:scale=0.7": "calm", "sync": "Sync"}, cells)
    assert SCRIPT["pictures"](tmp_path) == {}
    (tmp_path / "adroit-door").mkdir()
    (tmp_path / "adroit-door" / "results.json").write_text(json.dumps(content))
    drawn = SCRIPT["pictures"](tmp_path)
    assert list(drawn) == ["adroit-door"]
    first = drawn["adroit-door"].axes[0]
    [line] = first.lines
    assert line.get_xydata().tolist() == [[1.0, 0.0], [3.0, 1.0]]  # not the one whose jerk is not known
    assert [text.get_text() for text in first.texts] == ["0.7", "1"]


def test_the_page_shows_every_picture() -> None:
    drawn = [path.name for path in (ROOT / "docs" / "pictures").glob("frontier-*.svg")]
    assert len(drawn) >= 5
    assert set(re.findall(r"pictures/(frontier-\S+\.svg)", (ROOT / "docs" / "choose.md").read_text())) == set(drawn)
