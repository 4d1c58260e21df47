"""What a predictor and its guard are worth where something comes between: the hand pushed, the object moved, a load.

    python benchmarks/disturbances.py push-t --run runs/tuning/push-t/seed-100 --predictor runs/tuning/push-t/predictor

Rolls out one method at one delay, without a predictor, with one, and with one that is doubted where it was wrong at
the last request (the guard), each undisturbed and under every disturbance, on the same episodes. Prints a table in
Markdown, with 95 % intervals and the paired difference in success to the row without a predictor; the numbers go to
results/disturbances/<task>.json.
"""

import argparse
import json
import math
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segue.core.metrics import METRICS, EpisodeRecord, episode_metrics
from segue.core.robot import Disturbable, Simulator
from segue.errors import SpecError
from segue.lab import results
from segue.lab.delays import delay_model
from segue.lab.report.table import head, shown
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.statistics import Interval, Sample, mean_interval, proportion_difference, proportion_interval
from segue.lab.tasks.disturbances import KINDS, Disturbance, Disturbed
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import Method, method
from segue.policies.chunk_policy import ServingPolicy
from segue.policies.predictors.predictor import PredictivePolicy, Predictor
from segue.training import checkpoint
from segue.training.predictor import load_predictor

UNDISTURBED = "none"
ROWS = {"none": "no predictor", "unguarded": "predictor", "guarded": "predictor, guard"}
MEASURES = ("success", "score", "completion_time", "jerk_measured", "prediction_error", "surprising")
SHARES = ("success", "score", "surprising")
DIFFERENCE = "difference"
"""In success, to the row without a predictor."""
FIRST_SEED = 50_000
"""Away from the seeds of tuning and of results."""


@dataclass(frozen=True)
class Setting:
    """What all rows have in common."""

    task: Task
    method: Method
    timing: Timing
    scales: Scales
    seeds: tuple[int, ...]
    size: float
    kinds: tuple[str, ...]


def bound(setting: Setting, run: Path, predictor: Predictor, row: str) -> ServingPolicy:
    """The method on the policy of a training seed, under a row's predictor."""
    policy = checkpoint.load(run / setting.method.policy).policy()
    serving = setting.method.bound(policy)
    return serving if row == "none" else PredictivePolicy(serving, predictor, guard=row == "guarded")


def robots(setting: Setting, kind: str) -> Sequence[Simulator]:
    """A simulator per episode, each disturbed as the kind says."""
    made = [setting.task.simulator() for _ in setting.seeds]
    if kind == UNDISTURBED:
        return made
    disturbances = Disturbance.midway(kind, setting.task.demonstrations(), size=setting.size)  # type: ignore[arg-type]
    disturbable = [each for each in made if isinstance(each, Disturbable)]
    if len(disturbable) < len(made):
        raise SpecError(f"task {setting.task.name}", "a simulator that can be disturbed", "take another task")
    return [Disturbed(each, disturbances) for each in disturbable]


def rows(setting: Setting, runs: Sequence[Path], predictor: Predictor) -> Iterator[dict[str, Any]]:
    """Every kind and row, the episodes of all training seeds one after another."""
    for kind in setting.kinds:
        simulators = robots(setting, kind)
        for row in ROWS:
            records: list[EpisodeRecord] = []
            happened = 0
            for run in runs:
                policy = bound(setting, run, predictor, row)
                records += rollout(policy, simulators, setting.seeds, setting.timing, setting.scales)
                happened += sum(isinstance(each, Disturbed) and each.happened is not None for each in simulators)
            measured = [episode_metrics(record) for record in records]
            yield {
                "disturbance": kind,
                "row": row,
                "disturbed": happened,
                "training_seed": np.repeat(np.arange(len(runs)), len(setting.seeds)).tolist(),
                "seed": list(setting.seeds) * len(runs),
                "episodes": {name: [finite(each[name]) for each in measured] for name in MEASURES},
            }


def finite(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def sample(row: Mapping[str, Any], measure: str) -> Sample:
    values = [np.nan if value is None else value for value in row["episodes"][measure]]
    return Sample(np.array(values, np.float64), np.array(row["training_seed"]), np.array(row["seed"]))


def ends(found: Interval) -> tuple[float | None, float | None, float | None]:
    return finite(found.value), finite(found.low), finite(found.high)


def kept(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the table needs of each row: intervals, and the difference in success to the row without a predictor."""
    first = {row["disturbance"]: row for row in found if row["row"] == "none"}
    rows = []
    for row in found:
        intervals = {
            name: ends((proportion_interval if name in SHARES else mean_interval)(sample(row, name)))
            for name in MEASURES
        }
        reference = first[row["disturbance"]]
        if row is not reference:
            intervals[DIFFERENCE] = ends(proportion_difference(sample(row, "success"), sample(reference, "success")))
        rows.append({
            "disturbance": row["disturbance"], "row": row["row"], "disturbed": row["disturbed"],
            "episodes": len(row["seed"]), "intervals": intervals,
        })  # fmt: skip
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """In Markdown, a row per disturbance and predictor."""
    shown_measures = [head(name) for name in MEASURES]
    lines = [f"| disturbance | row | {' | '.join(shown_measures)} | success, to no predictor |"]
    lines.append("|:---|:---|" + "---:|" * (len(MEASURES) + 1))
    for row in rows:
        cells = [cell(row["intervals"].get(name), name) for name in (*MEASURES, DIFFERENCE)]
        lines.append(f"| {row['disturbance']} | {ROWS[row['row']]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(found: Sequence[float | None] | None, measure: str) -> str:
    if found is None:
        return ""
    value, low, high = (math.nan if end is None else end for end in found)
    said, between = shown(Interval(value, low, high, 1, 1), "success" if measure == DIFFERENCE else measure)
    return f"{said} ({between})" if between else said


def block(path: Path) -> str:
    """What docs/tuning.md shows of a task: the command, and the table."""
    saved = json.loads(path.read_text())
    return f"`{saved['command']}` at commit {saved['commit']}:\n\n{table(saved['rows'])}\n"


def content(setting: Setting, runs: Sequence[Path], predictor: Path, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All that the table is made of, and what it was made with."""
    episodes = setting.task.demonstrations()
    kinds = [kind for kind in setting.kinds if kind != UNDISTURBED]
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": results.commit(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "task": setting.task.name,
        "method": setting.method.name,
        "delay": setting.timing.delay.typical,
        "execution_horizon": setting.timing.execution_horizon,
        "runs": [str(run) for run in runs],
        "predictor": str(predictor),
        "disturbances": [asdict(Disturbance.midway(kind, episodes, size=setting.size)) for kind in kinds],  # type: ignore[arg-type]
        "measures": {name: METRICS[name].formula for name in MEASURES},
        "rows": found,
    }


def write(numbers: Mapping[str, Any], path: Path) -> None:
    """One row per line, so that versions of a file can be compared."""
    lines = ",\n".join(json.dumps(row) for row in numbers["rows"])
    rest = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in numbers.items() if key != "rows"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join([*rest, f'"rows": [\n{lines}\n]']) + "\n}\n")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--run", type=Path, nargs="+", required=True, help="of one training seed each")
    parser.add_argument("--predictor", type=Path, required=True, help="of `segue train-predictor`")
    parser.add_argument("--method", default="naive:noise=carried", help="rolled out in every row")
    parser.add_argument("--delay", type=int, default=8, help="[steps]")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--size", type=float, default=1.0, help="factor on all disturbances")
    parser.add_argument("--kinds", default=",".join((UNDISTURBED, *KINDS)))
    parser.add_argument("--out", type=Path, help="instead of results/disturbances/<task>.json")
    return parser.parse_args()


def main() -> None:
    given = parsed()
    torch.set_num_threads(1)
    chosen, found = task(given.task), method(given.method)
    policy = checkpoint.load(given.run[0] / found.policy).policy()
    delay = delay_model("fixed", given.delay)
    steps = max(chosen.execution_horizon, given.delay)
    setting = Setting(
        task=chosen,
        method=found,
        timing=Timing(policy.spec.horizon, steps, delay, found.handover, chosen.max_steps),
        scales=Scales.of(chosen.demonstrations(), chosen.simulator().spec),
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + given.episodes)),
        size=given.size,
        kinds=tuple(given.kinds.split(",")),
    )
    predictor, _ = load_predictor(given.predictor)
    measured: list[dict[str, Any]] = []
    for row in rows(setting, given.run, predictor):
        measured.append(row)
        print(f"{row['disturbance']}, {ROWS[row['row']]}: done", file=sys.stderr)
    measured = kept(measured)
    print(table(measured))
    out = given.out or Path("results/disturbances") / f"{given.task}.json"
    write(content(setting, given.run, given.predictor, measured), out)


if __name__ == "__main__":
    main()
