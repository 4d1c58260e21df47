"""Choose the default of all tasks by a rule that was written down before, on seeds that no table uses.

    python benchmarks/default.py --task adroit-door     trains what is missing, rolls out what is missing
    python benchmarks/default.py                        all four tasks, one after the other, then the choice

Settings: four tasks, delays 0 and 8, training seeds 100 and 101, 40 initial states each from seed 20,000 on. Success is
the score on Push-T.

Rule: a candidate counts if its success is in no setting more than 0.08 below that of naive execution with the
predictor. It is admissible if its success, mean over the settings, is within 0.02 of the best of those. The default is
the admissible one with the smallest sum over the settings of ln(seam jump) + ln(measured jerk).

How long its guidance then holds to the chunk before is chosen on Push-T, the one of these tasks in which two chunks
overlap for seconds; in the others they do for less than every candidate. Rule, made when the tables had shown that the
default was behind naive execution there without delay: the longest time whose score is at no delay below that of naive
execution with the predictor.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import marked
import numpy as np
import torch
from rich.console import Console

from segue.core.metrics import mean_of_defined
from segue.lab.delays import Fixed
from segue.lab.recipes import recipe_for
from segue.lab.sweep import Cell, run_cell
from segue.lab.tasks.tasks import task
from segue.methods.methods import PREDICTOR, method, objective
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import train_policy

TASKS = ("adroit-door", "push-t", "metaworld/peg-insert-side", "metaworld/pick-place")
DELAYS = (0, 8)
TRAINING_SEEDS = (100, 101)
FIRST_SEED, EPISODES = 20_000, 40
BASE = "naive:predictor=learned"
_CARRIED = "predictor=learned:noise=carried"
CANDIDATES = {
    BASE: "plain",
    **{f"naive:{_CARRIED}:scale={scale}": "plain" for scale in (1.0, 0.7)},
    f"naive:{_CARRIED}:share=0.5:scale=0.7": "plain",
    **{f"rtc:{_CARRIED}:scale={scale}:clip={clip}": "plain" for scale, clip in ((0.7, 1.0), (0.5, 1.5))},
    **{
        f"rtc:{_CARRIED}:share=0.5:scale={scale}:clip={clip}": "plain"
        for scale, clip in ((0.7, 1.5), (0.7, 2.0), (0.5, 2.0))
    },
    **{
        f"legato:{_CARRIED}:share={share}:scale={scale}": "legato"
        for share, scale in ((1.0, 1.0), (0.5, 1.0), (0.5, 0.7))
    },
}
"""Candidates, and the objective that their policy is trained with."""
RAMPED = f"rtc:{_CARRIED}:share=0.5:scale=0.7:clip=2.0"
RAMPS = (0.4, 0.8, 1.2, 1.6, 2.0)
"""The choice among the candidates, and for how long its guidance may hold to the chunk before [s]."""
RAMP_TASK = "push-t"
MEASURES = ("success", "score", "completion_time", "jerk_measured", "seam_jump", "mode_switches")
MEAN_WITHIN, NOWHERE_BELOW = 0.02, 0.08


def train(name: str, seed: int, goals: set[str], home: Path, console: Console) -> Path:
    """Predictor and policies of one training seed, trained for as long as in a comparison."""
    run, settings, training = home / name / f"seed-{seed}", task(name), PredictorTraining(seed=seed)
    episodes, recipe = settings.demonstrations(), recipe_for(name)
    train_predictor(episodes, training, run=run / PREDICTOR, task=name, resume=True, console=console)
    recipe = replace(recipe, updates=recipe.updates - training.cost)
    for goal in sorted(goals):
        train_policy(episodes, recipe, goal, objective(goal), run=run, seed=seed, task=name, console=console)
    return run


def measured(name: str, candidate: str, delay: int, home: Path) -> dict[str, float]:
    """Means of the measures over all episodes of a setting."""
    columns: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for seed in TRAINING_SEEDS:
        run, chosen = home / name / f"seed-{seed}", method(candidate)
        cell = Cell(
            name, chosen, run / chosen.policy, seed, Fixed(delay), task(name).execution_horizon, EPISODES,
            predictor=run / PREDICTOR, first_seed=FIRST_SEED + 1000 * (seed - TRAINING_SEEDS[0]),
        )  # fmt: skip
        done = run_cell(cell)
        for measure, column in columns.items():
            column += done.values(measure)
    return {measure: mean_of_defined(column) for measure, column in columns.items()}


def success(setting: str, row: Mapping[str, float]) -> float:
    """Success, or on Push-T, where few episodes succeed, the score."""
    return row["score" if setting.startswith("push-t") else "success"]


def chosen(rows: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, float, float, bool]]:
    """Candidates with mean success, smoothness (smaller is smoother) and whether they are admissible, best first.

    Args:
        rows: Measures by setting (``task delay``), by candidate.
    """
    settings = list(rows[BASE])
    means = {name: float(np.mean([success(at, row[at]) for at in settings])) for name, row in rows.items()}
    smooth = {
        name: sum(log(row[at]["seam_jump"]) + log(row[at]["jerk_measured"]) for at in settings)
        for name, row in rows.items()
    }
    counts = [
        name
        for name, row in rows.items()
        if all(success(at, row[at]) >= success(at, rows[BASE][at]) - NOWHERE_BELOW for at in settings)
    ]
    best = max(means[name] for name in counts)
    admissible = {name: name in counts and means[name] >= best - MEAN_WITHIN for name in rows}
    ranked = sorted(rows, key=lambda name: (not admissible[name], smooth[name]))
    return [(name, means[name], smooth[name], admissible[name]) for name in ranked]


def ramped(ramp: float) -> str:
    """The candidate whose guidance holds for so long [s]."""
    return f"{RAMPED}:ramp_seconds={ramp}"


def ramps(rows: Mapping[str, Mapping[str, Any]]) -> dict[float, list[float]]:
    """Score at each delay by how long the guidance holds [s], of those that were measured."""
    there = [ramp for ramp in RAMPS if ramped(ramp) in rows]
    return {ramp: [row["score"] for row in rows[ramped(ramp)].values()] for ramp in there}


def longest(rows: Mapping[str, Mapping[str, Any]]) -> float:
    """The longest ramp [s] whose score is at no delay below that of `BASE`."""
    wanted = [row["score"] for row in rows[BASE].values()]
    return max(ramp for ramp, scores in ramps(rows).items() if all(a >= b for a, b in zip(scores, wanted, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, help="only this one, without a choice")
    parser.add_argument("--candidates", help="only these, separated by commas")
    parser.add_argument("--runs", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--out", type=Path, default=Path("results/tuning"))
    parser.add_argument("--page", type=Path, default=Path("docs/tuning.md"), help="where the table stands")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")  # half of the time where the processor knows bfloat16
    console = Console()
    tasks = [given.task] if given.task else list(TASKS)
    for name in tasks:
        candidates = given.candidates.split(",") if given.candidates else list(CANDIDATES)
        if name == RAMP_TASK and not given.candidates:
            candidates += map(ramped, RAMPS)
        file = given.out / f"{name.replace('/', '-')}.json"
        rows: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
        for seed in TRAINING_SEEDS:
            train(name, seed, {method(each).policy for each in candidates}, given.runs, console)
        for candidate in candidates:
            for delay in DELAYS:
                done = rows.setdefault(candidate, {})
                if (at := f"{name} {delay}") not in done:
                    done[at] = measured(name, candidate, delay, given.runs)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps(rows, indent=1))
                    console.print(at, candidate, {key: round(value, 3) for key, value in done[at].items()}, width=200)
    if given.task is None:
        write(given.page, given.out)


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """Measures by setting, by candidate, of those that were measured in every task."""
    parts = [json.loads((folder / f"{name.replace('/', '-')}.json").read_text()) for name in TASKS]
    whole = [name for name in CANDIDATES if all(name in part for part in parts)]
    return {name: {at: row for part in parts for at, row in part[name].items()} for name in whole}


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Candidates in the order of the rule, with success (Push-T: score) per setting."""
    settings = list(rows[BASE])
    lines = ["| candidate | admissible | mean | " + " | ".join(settings) + " | ln(jump) + ln(jerk) |"]
    lines.append("| :--- | :--- | ---: |" + " ---: |" * (len(settings) + 1))
    for name, mean, smooth, admissible in chosen(rows):
        shares = [f"{success(at, rows[name][at]):.2f}" for at in settings]
        cells = [f"`{name}`", "yes" if admissible else "no", f"{mean:.3f}", *shares, f"{smooth:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measured_ramps(folder: Path) -> dict[str, dict[str, Any]]:
    """Measures of the task that the ramp is chosen on, by setting, by candidate."""
    return json.loads((folder / f"{RAMP_TASK}.json").read_text())


def ramps_markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Measures at both delays by how long the guidance holds, and of naive execution with the predictor."""
    names = {f"{ramp} s": ramped(ramp) for ramp in ramps(rows)}
    names |= {"as long as both chunks go, 2.4 s": RAMPED, "no guidance, fresh noise": BASE}
    shown = {"score": 2, "success": 2, "seam_jump": 3, "jerk_measured": 0, "mode_switches": 1}
    heads = [f"{measure.replace('_', ' ')}, {delay}" for measure in shown for delay in DELAYS]
    lines = ["| guided for | " + " | ".join(heads) + " |", "| :--- |" + " ---: |" * len(heads)]
    for label, name in names.items():
        cells = [f"{row[measure]:.{digits}f}" for measure, digits in shown.items() for row in rows[name].values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def filled(page: str, folder: Path) -> str:
    """A page with its marked tables written again."""
    tables = {"candidates": lambda: markdown(kept(folder)), "ramps": lambda: ramps_markdown(measured_ramps(folder))}
    return marked.filled(page, "default", lambda name: tables[name]())


def write(page: Path, folder: Path) -> None:
    """Write the table into a page."""
    page.write_text(filled(page.read_text(), folder))


if __name__ == "__main__":
    main()
