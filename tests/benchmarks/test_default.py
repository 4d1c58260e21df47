"""The rule by which the default is chosen, on rows that were made up for it."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from segue.lab.sweep import FIRST_SEED
from segue.lab.tasks.tasks import task
from segue.methods.methods import method

ROOT = Path(__file__).parents[2]
DEFAULT: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "default.py"))
SETTINGS = [f"{task} {delay}" for task in DEFAULT["TASKS"] for delay in DEFAULT["DELAYS"]]


def row(success: float, jump: float, jerk: float = 100.0, **at: float) -> dict[str, dict[str, float]]:
    """The same measures in every setting, with another success in those that are named."""
    found = {}
    for setting in SETTINGS:
        here = at.get(setting.replace("/", "_").replace("-", "_").replace(" ", "_"), success)
        # Push-T has few successes, and a score that says how far it came
        kind = {"success": 0.1, "score": here} if setting.startswith("push-t") else {"success": here, "score": 0.1}
        found[setting] = {**kind, "seam_jump": jump, "jerk_measured": jerk}
    return found


def best(**rows: dict[str, dict[str, float]]) -> str:
    return DEFAULT["chosen"]({DEFAULT["BASE"]: row(0.8, 0.5), **rows})[0][0]


def test_of_what_succeeds_alike_the_smoothest_is_chosen() -> None:
    assert best(smooth=row(0.8, 0.2), rough=row(0.81, 0.4)) == "smooth"
    assert best(gentle=row(0.8, 0.3, jerk=50), smooth=row(0.8, 0.2, jerk=100)) == "gentle"  # 0.3 * 50 < 0.2 * 100


def test_what_succeeds_less_is_not_admissible_however_smooth() -> None:
    assert best(still=row(0.77, 0.01)) == DEFAULT["BASE"]
    assert best(still=row(0.79, 0.01)) == "still"


def test_one_task_that_is_lost_cannot_be_made_good_by_the_others() -> None:
    lost = row(0.85, 0.1, adroit_door_8=0.7)
    assert best(lost=lost) == DEFAULT["BASE"]
    assert best(kept=row(0.85, 0.1, adroit_door_8=0.73)) == "kept"
    assert best(lost=row(0.85, 0.1, push_t_0=0.7)) == DEFAULT["BASE"]


@pytest.mark.parametrize("name", DEFAULT["CANDIDATES"])
def test_candidates_are_methods(name: str) -> None:
    found = method(name)
    assert (found.policy, found.predictor) == (DEFAULT["CANDIDATES"][name], "learned")


def test_tuning_uses_no_seed_of_a_table() -> None:
    first, seeds, episodes = (DEFAULT[name] for name in ("FIRST_SEED", "TRAINING_SEEDS", "EPISODES"))
    tuned = {first + 1000 * i + j for i in range(len(seeds)) for j in range(episodes)}
    assert not tuned & set(range(FIRST_SEED, FIRST_SEED + 1000))
    assert min(seeds) >= 100


def test_the_default_is_what_the_rule_says() -> None:
    """On the rows that are kept with the source."""
    chosen = method(DEFAULT["chosen"](DEFAULT["kept"](ROOT / "results" / "tuning"))[0][0])
    ramp = DEFAULT["longest"](DEFAULT["measured_ramps"](ROOT / "results" / "tuning"))
    default = method("predictive")
    assert ({**chosen.settings, "ramp_seconds": ramp}, chosen.policy) == (default.settings, default.policy)


def test_the_longest_ramp_that_loses_nothing_is_chosen() -> None:
    def scores(*values: float) -> dict[str, dict[str, float]]:
        return {f"push-t {delay}": {"score": value} for delay, value in zip(DEFAULT["DELAYS"], values, strict=True)}

    names = [f"{DEFAULT['RAMPED']}:ramp_seconds={ramp}" for ramp in DEFAULT["RAMPS"]]
    made = [scores(0.9, 0.9), scores(0.8, 0.8), scores(0.9, 0.79), scores(0.7, 0.9), scores(0.1, 0.1)]
    rows = {DEFAULT["BASE"]: scores(0.8, 0.8), **dict(zip(names, made, strict=True))}
    assert DEFAULT["longest"](rows) == DEFAULT["RAMPS"][1]


@pytest.mark.parametrize("name", [name for name in DEFAULT["TASKS"] if name != DEFAULT["RAMP_TASK"]])
def test_only_where_chunks_overlap_for_seconds_does_the_ramp_matter(name: str) -> None:
    """So that it was chosen on one task: in the others, no candidate ends before the overlap does."""
    overlap = task(name).horizon - task(name).execution_horizon
    assert overlap * task(name).dt < min(DEFAULT["RAMPS"])


def test_the_page_shows_what_was_measured() -> None:
    page = (ROOT / "docs" / "tuning.md").read_text()
    assert DEFAULT["filled"](page, ROOT / "results" / "tuning") == page
