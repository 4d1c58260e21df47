"""Cells of earlier results beside those of a comparison: the same budget and settings, and in full."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from fakes.point_mass import PointMass, demonstrations
from segue.lab import results
from segue.lab.compare import Comparison, cells_of
from segue.lab.delays import Fixed, Jitter
from segue.lab.results import CellResult, MethodFacts
from segue.lab.tasks.tasks import Task
from segue.methods.methods import METHODS, method
from segue.training.recipe import Recipe

TASK = Task("point", "a point mass", 0.1, 20, 8, 3, PointMass, demonstrations)
ASKED = Comparison("point", (METHODS["naive"], METHODS["rtc"]), (Fixed(0), Fixed(4)), Recipe(updates=40), 2, 2, 3)
SAID_LATER = {"noise", "scale", "share", "predictor", "ramp_seconds"}


def earlier(folder: Path, **settings: Any) -> Path:
    """A results file of naive execution and RTC, two training runs each, from before there were all settings."""
    cells = [
        CellResult(
            method=name, delay=delay, training_seed=seed, horizon=8, execution_horizon=3,
            episodes={"seed": [1, 2], "success": [1.0, None]},
        )
        for seed in (0, 1) for delay in (0, 4) for name in ("naive", "rtc")
    ]  # fmt: skip
    methods = []
    for each in ASKED.methods:
        facts = MethodFacts(**each.description())
        old = {name: value for name, value in facts.settings.items() if name not in SAID_LATER}
        methods.append(structs.replace(facts, settings=old | settings))
    budget = {"episodes per cell": 2, "updates per policy": "40"}
    built = results.build(TASK, methods, cells, title="t", command="segue bench", budget=budget)
    return results.write(structs.replace(built, commit="abc"), folder / "results.json")


def test_cells_of_earlier_results_stand_beside_new_ones_and_say_their_commit(tmp_path: Path) -> None:
    asked = replace(ASKED, methods=(*ASKED.methods, METHODS["predictive"]))
    found = cells_of(earlier(tmp_path), asked)
    assert {name: len(cells) for name, cells in found.items()} == {"naive": 4, "rtc": 4}
    assert {each.commit for each in found["naive"]} == {"abc"}


@pytest.mark.parametrize(
    "changed",
    [
        {"task": "other"},
        {"delays": (Fixed(0), Fixed(8))},
        {"training_seeds": 3},
        {"episodes": 3},
        {"recipe": Recipe(updates=41)},
        {"delays": (Fixed(0), Jitter(4, 1))},
    ],
)
def test_cells_at_another_budget_or_not_in_full_do_not(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert cells_of(earlier(tmp_path), replace(ASKED, **changed)) == {}


def test_cells_of_other_settings_do_not(tmp_path: Path) -> None:
    asked = replace(ASKED, methods=(method("rtc"),))
    assert list(cells_of(earlier(tmp_path), asked)) == ["rtc"]
    assert cells_of(earlier(tmp_path, clip=3.0), asked) == {}
    assert cells_of(earlier(tmp_path, ramp_seconds=0.4), asked) == {}
    assert cells_of(tmp_path / "nowhere.json", asked) == {}
