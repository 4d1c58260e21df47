"""The timing script of the runtime: what it times runs, and everybody takes the same number of turns."""

import runpy
from collections import Counter
from pathlib import Path

import numpy as np

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "runtime.py"))


def test_each_takes_its_turn_in_every_round() -> None:
    calls: Counter[str] = Counter()
    times = BENCHMARK["measure"]({name: lambda name=name: calls.update([name]) for name in "abc"}, 4)
    assert calls == dict.fromkeys("abc", 5)  # and once to warm up
    assert all(times[name].shape == (4,) for name in "abc")


def test_every_part_of_a_control_step_runs(tmp_path: Path) -> None:
    work = BENCHMARK["control_steps"](tmp_path, 1)
    assert list(work) == ["plan", "limiter", "ladder", "trace", "executor", "recorded"]
    for each in work.values():
        each()


def test_the_wanted_actions_are_inside_of_the_limits() -> None:
    actions, limits = BENCHMARK["ACTIONS"].astype(float), BENCHMARK["LIMITS"]
    assert len(actions) == BENCHMARK["STEPS"]
    assert np.abs(np.diff(actions, axis=0)).max() / BENCHMARK["DT"] < min(limits.velocity)


def test_hand_overs_run() -> None:
    for each in BENCHMARK["hand_overs"]().values():
        each()


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    times = {"twice": np.array([2.0, 4.0, 60.0])}
    shown = BENCHMARK["costs"](times, np.array([1.0, 2.0, 3.0]), "title", {"twice": "twice as long"})
    assert list(shown.columns[1].cells) == ["2.00"]


def test_a_control_process_is_weighed() -> None:
    assert BENCHMARK["weight"]().startswith("control process: ")
