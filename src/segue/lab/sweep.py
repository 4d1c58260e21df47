"""Cells of a comparison (method x delay x training seed), on as many processes as there are cores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from segue.core import plugins
from segue.core.chunk import check_timing
from segue.core.metrics import EpisodeRecord, episode_metrics
from segue.core.robot import Simulator
from segue.lab.delays import DelayModel, Scaled
from segue.lab.processes import executor, in_turn
from segue.lab.results import CellResult, Motion, Number, worst_seam
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.tasks.tasks import Task, task
from segue.lab.twins import Followed, Twins
from segue.methods.methods import Method
from segue.methods.parts import predictor_of
from segue.plan.plan import Handover
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import Predictor
from segue.training import checkpoint
from segue.training.autoencoder import load_autoencoder
from segue.training.correction.residual import load_correction

FIRST_SEED = 10_000
"""Evaluation seeds start here, away from those of the demonstrations."""


@dataclass(frozen=True)
class Cell:
    """One cell: episodes of one method at one delay with one trained policy.

    Attributes:
        task: Name.
        method: How chunks are continued.
        checkpoint: The policy.
        training_seed: Of the policy.
        delay: Model of the inference delay.
        execution_horizon: s at zero delay; a longer delay raises it to d.
        episodes: Number, on seeds from ``first_seed`` on.
        slowdown: The method's own factor on the delay, to compare at equal hardware.
        autoencoder: For a method that refines the chunks of a policy of actions.
        predictor: For a method that predicts with the predictor of the run.
        correction: For a method that corrects actions when they are due.
        first_seed: Of the initial states; another for what is tuned than for what is reported.
    """

    task: str
    method: Method
    checkpoint: Path
    training_seed: int
    delay: DelayModel
    execution_horizon: int
    episodes: int
    slowdown: float = 1.0
    autoencoder: Path | None = None
    predictor: Path | None = None
    correction: Path | None = None
    first_seed: int = FIRST_SEED

    @property
    def key(self) -> dict[str, Any]:
        """Its place in a table."""
        return {"method": self.method.name, "delay": self.delay.typical, "training_seed": self.training_seed}

    @property
    def own_delay(self) -> DelayModel:
        """The delay of this method, where that of a plain inference is ``delay``."""
        return Scaled(self.delay, self.slowdown)

    @property
    def steps(self) -> int:
        """The execution horizon s at this delay [steps]."""
        return max(self.execution_horizon, self.own_delay.typical)


def check(cells: Iterable[Cell]) -> None:
    """Raise before anything runs: policies are for the task, and timings are possible."""
    for path, of_policy in groupby(sorted(cells, key=_checkpoint), _checkpoint):
        policy = _policy(path)
        for cell in of_policy:
            own = simulators(cell.task, 1)[0].spec
            policy.spec.check_fits(own, "evaluate a policy on the task that it was trained for")
            delay = 0 if cell.method.handover is Handover.WAIT else cell.own_delay.typical
            check_timing(policy.spec.horizon, delay, cell.steps)


def _checkpoint(cell: Cell) -> Path:
    return cell.checkpoint


def run_cells(cells: Sequence[Cell], workers: int) -> Iterator[CellResult]:
    """Results of the cells in their order, as they are done."""
    check(cells)
    with executor(workers) as work:
        yield from in_turn(work, run_cell, cells)


def run_cell(cell: Cell) -> CellResult:
    """Roll out one cell."""
    settings = task(cell.task)
    policy = _policy(cell.checkpoint)
    seeds = list(range(cell.first_seed, cell.first_seed + cell.episodes))
    timing = Timing(policy.spec.horizon, cell.steps, cell.own_delay, cell.method.handover, settings.max_steps)
    robots: Sequence[Simulator] = simulators(cell.task, cell.episodes)
    if cell.method.predictor == "oracle":
        robots = [Followed(robot, settings.simulator()) for robot in robots]
    codec = None if cell.autoencoder is None else load_autoencoder(cell.autoencoder)[0]
    bound = cell.method.uncorrected.bound(policy, codec, _predictor(cell, policy, robots))
    correction = None if cell.correction is None else load_correction(cell.correction, policy)
    records = rollout(bound, robots, seeds, timing, scales(cell.task), correction)
    return result(timing, seeds, records, **cell.key)


def _predictor(cell: Cell, policy: Policy, robots: Sequence[Simulator]) -> Predictor | None:
    """The predictor of the kind that the method says; None for a method without."""
    if cell.method.predictor == "oracle":
        return Twins([robot for robot in robots if isinstance(robot, Followed)])
    return predictor_of(cell.method.predictor, policy, cell.predictor)


def result(timing: Timing, seeds: Sequence[int], records: Sequence[EpisodeRecord], **key: Any) -> CellResult:
    """What a cell leaves behind, by its key: its timing, the columns of its episodes, and a trace of the first."""
    measured, first = [episode_metrics(record) for record in records], records[0]
    columns: dict[str, list[Number]] = {name: [rounded(each[name]) for each in measured] for name in measured[0]}
    trace = Motion(
        **key, seed=seeds[0], commands=np.round(first.commands, 3).tolist(),
        measured=np.round(first.measured, 4).tolist(), seams=[seam.step for seam in first.seams],
        worst_seam=worst_seam(first)[1],
    )  # fmt: skip
    return CellResult(
        **key, horizon=timing.horizon, execution_horizon=timing.execution_horizon,
        episodes={"seed": [*seeds], **columns}, trace=trace,
    )  # fmt: skip


def rounded(value: float) -> float | None:
    """Six significant digits, which is more than an episode has to say; None where it is undefined."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


@cache
def _made(name: str) -> list[Simulator]:
    return []


def simulators(name: str, count: int) -> list[Simulator]:
    """Simulators of a task, kept for the next cell: building one takes longer than resetting it."""
    made = _made(name)
    while len(made) < count:
        made.append(task(name).simulator())
    return made[:count]


def foreign_to(cell: Cell) -> list[str]:
    """Hashes of the code that decides in a cell and is not of this library."""
    strategy = type(cell.method.strategy)
    own = () if strategy.__module__.startswith("segue.") else (strategy,)
    return [plugins.source_of(each) for each in (*own, *task(cell.task).code)]


def _policy(path: Path) -> Policy:
    return checkpoint.load(path).policy()


@cache
def scales(name: str) -> Scales:
    """Units of a task, from its demonstrations."""
    settings: Task = task(name)
    episodes = settings.demonstrations()
    return Scales.of(episodes, simulators(name, 1)[0].spec)
