"""Cells of a comparison (method x delay x training seed), on as many processes as there are cores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from segue.core.chunk import check_timing
from segue.core.observation import Cameras
from segue.core.seams import seam_jump
from segue.envs.robot import Simulator
from segue.envs.tasks import Task, task
from segue.errors import CheckpointError, SpecError
from segue.evaluation.delays import DelayModel, Scaled
from segue.evaluation.methods import AUTOENCODER, LATENT, PREDICTED, PREDICTOR, Method
from segue.evaluation.metrics import EpisodeRecord, episode_metrics
from segue.evaluation.processes import pool
from segue.evaluation.rollout import Scales, Timing, rollout
from segue.evaluation.twins import Followed, Twins
from segue.policies.policy import Policy
from segue.policies.predictor import CommandedState, Predictor
from segue.runtime.plan import Handover
from segue.training import checkpoint
from segue.training.autoencoder import load_autoencoder
from segue.training.context_predictor import learned_predictor

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


@dataclass(frozen=True)
class Parts:
    """Checkpoints in a run that a method needs.

    Attributes:
        policy: Its policy.
        autoencoder: What it refines the chunks of a policy of actions with; None for other methods.
        predictor: What it predicts with; None for other methods.
    """

    policy: Path
    autoencoder: Path | None = None
    predictor: Path | None = None


def parts_of(run: Path, methods: Sequence[Method]) -> Mapping[str, Parts]:
    """What each method needs, by its name, from a run of `train_policy` or a training seed of a comparison.

    Raises:
        CheckpointError: Something is missing.
    """
    return {each.name: _parts(run, each, methods) for each in methods}


def home_of(run: Path, method: Method) -> Path:
    """Where a method's checkpoints are in a run.

    A comparison trains the policies of methods with a learned predictor apart, for so many updates fewer as the
    predictor costs; elsewhere they are those of all methods.
    """
    apart = run / PREDICTED
    return apart if method.predictor == "learned" and apart.is_dir() else run


def predictor_home(home: Path, policy: str) -> Path:
    """Where a policy's predictor lies beside it: one of its contexts in a folder of its own, else that of all."""
    own = home / PREDICTOR / policy
    return own if checkpoint.started(own) else home / PREDICTOR


def _parts(run: Path, method: Method, methods: Sequence[Method]) -> Parts:
    home, name = home_of(run, method), method.policy
    if not checkpoint.started(home / name):
        wanting = ", ".join(each.name for each in methods if each.policy == name)
        raise CheckpointError(
            got=f"no policy {name!r} in {home}",
            expected=f"a policy trained with objective {name!r}, which these methods run: {wanting}",
            change=_training(home, name) + ", or leave these methods out",
        )
    if method.refines_actions and not checkpoint.started(run / AUTOENCODER):
        refining = ", ".join(each.name for each in methods if each.refines_actions)
        raise CheckpointError(
            got=f"no {AUTOENCODER} in {run}",
            expected=f"one, which these methods refine with: {refining}",
            change=f"segue train-autoencoder TASK --out {run / AUTOENCODER}, or leave these methods out",
        )
    predictor = predictor_home(home, name)
    if method.predictor == "learned" and not checkpoint.started(predictor):
        predicting = ", ".join(each.name for each in methods if each.predictor == "learned")
        raise CheckpointError(
            got=f"no {PREDICTOR} in {home}",
            expected=f"one, which these methods predict with: {predicting}",
            change=f"segue train-predictor TASK --out {home / PREDICTOR}, or leave these methods out",
        )
    return Parts(
        policy=home / name,
        autoencoder=run / AUTOENCODER if method.refines_actions else None,
        predictor=predictor if method.predictor == "learned" else None,
    )


def _training(run: Path, policy: str) -> str:
    """The command that trains a policy."""
    name = policy.removeprefix(LATENT)
    where = f" --autoencoder {run / AUTOENCODER} --out {run / LATENT}" if name != policy else ""
    return f"segue train TASK --objective {name}{where}"


def check(cell: Cell, policy: Policy) -> None:
    """Raise before anything runs: the policy is for the task, and the timing is possible."""
    robot = simulators(cell.task, 1)[0].spec
    if policy.config.action_names != robot.action_names or policy.config.observation_names != robot.observation_names:
        raise SpecError(
            got=f"a policy with {len(policy.config.observation_names)} observations and "
            f"{len(policy.config.action_names)} actions, the first named {policy.config.action_names[0]!r}",
            expected=f"{len(robot.observation_names)} and {len(robot.action_names)} as in {cell.task}, the first named "
            f"{robot.action_names[0]!r}",
            change="evaluate a policy on the task that it was trained for",
        )
    if policy.config.cameras != robot.cameras:
        raise SpecError(
            got=f"a policy that sees {_named(policy.config.cameras)}",
            expected=f"{_named(robot.cameras)}, as {cell.task} shows",
            change="evaluate a policy on the task that it was trained for",
        )
    delay = 0 if cell.method.handover is Handover.WAIT else cell.own_delay.typical
    check_timing(policy.config.horizon, delay, cell.steps)


def _named(cameras: Cameras) -> str:
    """Cameras and their sizes, for people."""
    sizes = [f"{name!r} of {height} x {width}" for name, (height, width) in cameras.items()]
    return "the pictures " + ", ".join(sizes) if sizes else "no pictures"


def run_cells(cells: Sequence[Cell], workers: int) -> Iterator[dict[str, Any]]:
    """Results of the cells in their order, as they are done."""
    policies = {path: _policy(path) for path in dict.fromkeys(cell.checkpoint for cell in cells)}
    for cell in cells:
        check(cell, policies[cell.checkpoint])
    if workers == 1:
        yield from map(run_cell, cells)
        return
    with pool(workers) as processes:
        yield from processes.map(run_cell, cells)


def run_cell(cell: Cell) -> dict[str, Any]:
    """Roll out one cell; plain JSON, with one episode's commands as ``trace``."""
    settings = task(cell.task)
    policy = _policy(cell.checkpoint)
    seeds = list(range(cell.first_seed, cell.first_seed + cell.episodes))
    timing = Timing(policy.config.horizon, cell.steps, cell.own_delay, cell.method.handover, settings.max_steps)
    robots: Sequence[Simulator] = simulators(cell.task, cell.episodes)
    if cell.method.predictor == "oracle":
        robots = [Followed(robot, settings.simulator()) for robot in robots]
    codec = None if cell.autoencoder is None else load_autoencoder(cell.autoencoder)[0]
    bound = cell.method.bound(policy, codec, _predictor(cell, policy, robots))
    records = rollout(bound, robots, seeds, timing, scales(cell.task))
    return result(cell.key, timing, seeds, records)


def _predictor(cell: Cell, policy: Policy, robots: Sequence[Simulator]) -> Predictor | None:
    """The predictor of the kind that the method says; None for a method without."""
    if cell.method.predictor == "oracle":
        return Twins([robot for robot in robots if isinstance(robot, Followed)])
    return predictor_of(cell.method.predictor, policy, cell.predictor)


def predictor_of(kind: str, policy: Policy, path: Path | None) -> Predictor | None:
    """A predictor that needs no simulator; None where nothing is predicted.

    Args:
        kind: ``none``, ``learned`` or ``commanded``.
        policy: Whose observations are predicted.
        path: Of the learned predictor.

    Raises:
        SpecError: There is none of this kind here, or the policy does not say which observation its actions command.
    """
    match kind:
        case "none":
            return None
        case "learned" if path is not None:
            return learned_predictor(path, policy)
        case "commanded":
            return CommandedState.of(policy.config)
    raise SpecError(
        got=f"the predictor {kind!r}",
        expected="learned, with the predictor of a run, or commanded",
        change="an oracle needs a simulator: `segue eval`, `segue bench`",
    )


def result(
    key: Mapping[str, Any], timing: Timing, seeds: Sequence[int], records: Sequence[EpisodeRecord]
) -> dict[str, Any]:
    """What a cell leaves behind: its key, its timing, the columns of its episodes and a trace. Plain JSON."""
    measured = [episode_metrics(record) for record in records]
    columns = {name: [_json(each[name]) for each in measured] for name in measured[0]}
    return {
        **key,
        "horizon": timing.horizon,
        "execution_horizon": timing.execution_horizon,
        "episodes": {"seed": list(seeds), **columns},
        "trace": {**key, "seed": seeds[0], **_trace(records[0])},
    }


def _json(value: float) -> float | None:
    """Six significant digits, which is more than an episode has to say."""
    return None if not np.isfinite(value) else float(f"{value:.6g}")


def _trace(record: EpisodeRecord) -> dict[str, Any]:
    jumps = [
        (seam_jump(record.commands, seam.step, record.scale, record.spec.kinds), seam.step) for seam in record.seams
    ]
    worst = max((jump for jump in jumps if np.isfinite(jump[0])), default=(0.0, 0))[1]
    return {
        "commands": np.round(record.commands, 3).tolist(),
        "measured": np.round(record.measured, 4).tolist(),
        "seams": [seam.step for seam in record.seams],
        "worst_seam": worst,
    }


@cache
def _made(name: str) -> list[Simulator]:
    return []


def simulators(name: str, count: int) -> list[Simulator]:
    """Simulators of a task, kept for the next cell: building one takes longer than resetting it."""
    made = _made(name)
    while len(made) < count:
        made.append(task(name).simulator())
    return made[:count]


def _policy(path: Path) -> Policy:
    return checkpoint.load(path).policy()


@cache
def scales(name: str) -> Scales:
    """Units of a task, from its demonstrations."""
    settings: Task = task(name)
    episodes = settings.demonstrations()
    return Scales.of(episodes, simulators(name, 1)[0].spec)
