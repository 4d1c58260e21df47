"""The rates protocol at work: train what is missing, walk along held-out episodes, roll out, write the results."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from msgspec import structs
from rich.console import Console

from segue.core.seams import seam_jump
from segue.core.smoothness import Array, Real
from segue.data.episodes import Episodes
from segue.data.resample import Interpolation, cubic, every_phase, held, linear
from segue.errors import SpecError
from segue.lab import results
from segue.lab.delays import Fixed
from segue.lab.processes import counted, executor, in_turn
from segue.lab.rates.open_loop import demonstrated, measures, noisy, noisy_knots, walk
from segue.lab.rates.rates import FAMILIES, FORMS, Rates, Row, rows
from segue.lab.results import CellResult, Control, MethodFacts, OpenLoop, RateRow, RatesResult
from segue.lab.rollout import Timing, rollout
from segue.lab.sweep import FIRST_SEED, result, rounded, scales, simulators
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import objective
from segue.plan.plan import Handover
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, refine
from segue.policies.heads import Bins
from segue.policies.normalizer import Normalizer
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, held_out, load_autoencoder, train_autoencoder
from segue.training.config import TrainingConfig, own_elapsed
from segue.training.recipe import Recipe, train_policy

QUIET = Console(quiet=True)
SYNC = "-sync"
"""Behind the name of a row: synchronous execution."""
AUTOENCODER = "autoencoder alone"
TOKENS = 256
"""Bins per dimension of OpenVLA (arXiv 2406.09246)."""


@dataclass(frozen=True)
class Training:
    """One run to train: all objectives of a family in a space, or the autoencoder."""

    rates: Rates
    seed: int
    folder: Path
    family: str
    space: str
    objectives: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """One row and training seed; ``rms`` is the error along held-out episodes, shape (action,), robot units."""

    row: str
    rms: Array
    open_loop: OpenLoop
    seam_jump: float | None
    cells: list[CellResult]


def run(rates: Rates, *, runs: Path, out: Path, workers: int, command: str, console: Console) -> Path:
    """Train what is missing, measure every row, write ``out / results.json``; returns its path."""
    robot = simulators(rates.task, 1)[0]
    actions, kinds = len(robot.spec.action_names), robot.spec.kinds
    wanted, missing = rows(rates, actions, kinds)
    if not wanted:
        raise SpecError(
            got=f"families {', '.join(rates.families)} on {rates.task}",
            expected="a family with a row: " + "; ".join(dict.fromkeys(each.why for each in missing)),
            change=f"take {', '.join(each for each in FAMILIES if each not in rates.families)}",
        )
    folders = [(runs / f"seed-{seed}").resolve() for seed in range(rates.training_seeds)]
    with executor(workers) as work:
        for what, jobs in _trainings(rates, wanted, folders):
            for _ in counted(in_turn(work, train, jobs), len(jobs), what, console):
                pass
        cells = [(rates, row, seed, folder) for seed, folder in enumerate(folders) for row in wanted]
        what = f"measuring rows, {rates.episodes} episodes each"
        measured = list(counted(in_turn(work, measure, cells), len(cells), what, console))
    settings: Task = task(rates.task)
    content = results.build(
        settings,
        _methods(wanted),
        [cell for found in measured for cell in found.cells],
        title=f"{settings.name} at {1 / settings.dt:g} and {1 / (settings.dt * rates.factor):g} Hz",
        command=command,
        budget=asdict(rates),
    )
    section = RatesResult(
        factor=rates.factor,
        delay_seconds=rates.delay * settings.dt,
        groups=[results.Group(group.name, group.unit) for group in settings.groups(robot)],
        rows=[_row(row, rates, [found for found in measured if found.row == row.name]) for row in wanted],
        controls=_controls(rates, measured, folders[0]),
        not_applicable=missing,
    )
    # forty traces would be all of the file
    return results.write(structs.replace(content, traces=[], rates=section), out / "results.json")


def _trainings(rates: Rates, wanted: Sequence[Row], folders: Sequence[Path]) -> list[tuple[str, list[Training]]]:
    """Trainings in two rounds, as latent policies need their autoencoder; the longest first."""
    autoencoders, direct, latent = [], [], []
    for seed, folder in enumerate(folders):
        autoencoders.append(Training(rates, seed, folder, "", "autoencoder", ()))
        for family in sorted(rates.families):
            for space in ("wide", "high", "low", "latent"):
                names = [row.objective for row in wanted if (row.family, row.space) == (family, space)]
                if names:
                    job = Training(rates, seed, folder, family, space, tuple(dict.fromkeys(names)))
                    (latent if space == "latent" else direct).append(job)
    return [
        ("training autoencoder and policies of actions", autoencoders + direct),
        ("training latent policies", latent),
    ]


def train(job: Training) -> None:
    """What `run` does for one of its trainings; one that is finished is not repeated."""
    rates, episodes = job.rates, task(job.rates.task).demonstrations()
    autoencoder = job.folder / "autoencoder"
    if job.space == "autoencoder":
        train_autoencoder(
            episodes,
            AutoencoderConfig(rates.horizon, tuple(episodes.action_names), stride=rates.factor, latent=rates.latent),
            AutoencoderTraining(
                updates=rates.autoencoder_updates, seed=job.seed, held_out_every=rates.held_out_every
            ),
            run=autoencoder, task=rates.task, resume=True, console=QUIET,
        )  # fmt: skip
        return
    learned, horizon = held_out(episodes, rates.held_out_every)[0], rates.horizon
    if job.space == "low":
        kinds = simulators(rates.task, 1)[0].spec.kinds
        learned, horizon = every_phase(learned, rates.factor, kinds=kinds), horizon // rates.factor
    learner = rates.wide if job.space == "wide" else rates.learners[job.family]
    training = TrainingConfig(
        batch=rates.batch, learning_rate=learner.learning_rate, warmup=max(min(100, rates.updates // 10), 1),
        own_elapsed=own_elapsed(rates.execution_horizon),
    )  # fmt: skip
    recipe = Recipe(
        horizon=horizon, updates=rates.updates, network=learner.network, network_settings=learner.network_settings,
        family=learner.family, family_settings=learner.family_settings, training=training,
        autoencoder=autoencoder if job.space == "latent" else None,
    )  # fmt: skip
    for name in job.objectives:
        train_policy(
            learned, recipe, name, objective(name), run=job.folder / f"{job.family}-{job.space}", seed=job.seed,
            task=rates.task, console=QUIET,
        )  # fmt: skip


def measure(cell: tuple[Rates, Row, int, Path]) -> Measured:
    """Everything about one row and training seed: along held-out episodes, and in the simulator."""
    rates, row, seed, folder = cell
    form = FORMS[row.form]
    robot, settings = simulators(rates.task, rates.episodes), task(rates.task)
    policy = checkpoint.load(folder / f"{row.family}-{row.space}" / row.objective).policy()
    serving = form.serve(policy, rates, robot[0].spec.kinds)
    unseen = held_out(settings.demonstrations(), rates.held_out_every)[1]
    walked = walk(serving, unseen, rates.horizon, rates.execution_horizon, rates.delay, seed=seed)
    units = scales(rates.task)
    seeds = list(range(FIRST_SEED, FIRST_SEED + rates.episodes))
    cells = []
    for handover in [Handover.CONTINUE] if form.asynchronous_only else [Handover.WAIT, Handover.CONTINUE]:
        waits = handover is Handover.WAIT
        steps = rates.synchronous_horizon if waits else rates.execution_horizon
        timing = Timing(rates.horizon, steps, Fixed(rates.delay), handover, settings.max_steps)
        name = row.name + SYNC if waits else row.name
        records = rollout(serving, robot, seeds, timing, units)
        cells.append(result(timing, seeds, records, method=name, delay=rates.delay, training_seed=seed))
    error = walked.predicted - walked.actual
    jumps = [seam_jump(seam, 2, units.action, robot[0].spec.kinds) for seam in walked.seams]
    return Measured(
        row.name,
        np.sqrt(np.mean(error**2, axis=(0, 1))),
        _open_loop(rates, walked.predicted, walked.actual),
        float(np.mean(jumps)) if jumps else None,
        cells,
    )


def in_bfloat16_steps(chunks: Real) -> Real:
    """Chunks (chunks, horizon, action) as a policy in half precision says them: rounded in normalised units."""
    normalise = Normalizer.fit(chunks)
    rounded = normalise(torch.as_tensor(chunks, dtype=torch.float32)).bfloat16().float()
    return normalise.inverse(rounded).double().numpy()


def in_bins(chunks: Real, bins: int) -> Real:
    """Chunks (chunks, horizon, action) rounded to the centres of equal bins over their range per dimension."""
    head, exact = Bins(chunks.shape[2], bins), torch.as_tensor(chunks, dtype=torch.float32)
    head.fit(exact)
    return head.centres(head.tokens(exact)).double().numpy()


def _open_loop(rates: Rates, predicted: Real, actual: Real) -> OpenLoop:
    robot, groups = simulators(rates.task, 1)[0], task(rates.task).groups
    found = {group.name: measures(predicted, actual, group, robot.spec.dt) for group in groups(robot)}
    return {name: {key: rounded(value) for key, value in each.items()} for name, each in found.items()}


def _methods(wanted: Sequence[Row]) -> list[MethodFacts]:
    """Rows as methods of a results file, a row that waits beside one that does not."""
    found = []
    for row in wanted:
        policy = f"{row.family}-{row.space}/{row.objective}"
        own = MethodFacts(row.name, row.label, policy, citation="arXiv 2605.24931" if row.space == "latent" else "")
        if not FORMS[row.form].asynchronous_only:
            found.append(structs.replace(own, name=row.name + SYNC, label=f"{row.label}, sync"))
        found.append(own)
    return found


def _row(row: Row, rates: Rates, found: Sequence[Measured]) -> RateRow:
    """A row of the open-loop table, means over training seeds."""
    means = {
        group: {name: _mean([each.open_loop[group][name] for each in found]) for name in values}
        for group, values in found[0].open_loop.items()
    }
    return RateRow(row.name, row.label, *row.updates(rates), means, _mean([each.seam_jump for each in found]))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(float(np.mean(known))) if known else None


def _controls(rates: Rates, measured: Sequence[Measured], folder: Path) -> list[Control]:
    """What no policy has a part in: the truth, the autoencoder alone, and noise at either rate."""
    unseen: Episodes = held_out(task(rates.task).demonstrations(), rates.held_out_every)[1]
    truth = demonstrated(unseen, rates.horizon, rates.execution_horizon)
    codec = load_autoencoder(folder / "autoencoder")[0]
    with torch.no_grad():
        decoded = refine(codec, torch.as_tensor(truth.chunks, dtype=torch.float32)).double().numpy()
    scale = next(found for found in measured if found.row.endswith("-direct")).rms
    kinds = simulators(rates.task, 1)[0].spec.kinds
    connected: dict[str, Interpolation] = {"held": held, "linear": linear, "cubic": cubic}
    if kinds.moves:
        del connected["linear"]  # the same as held

    def knots(how: Interpolation, noise: Real) -> Real:
        return noisy_knots(truth, noise, rates.factor, how, 0, kinds)

    chunks: dict[str, Real] = {
        "demonstrations": truth.chunks,
        AUTOENCODER: decoded,
        "demonstrations rounded to bfloat16": in_bfloat16_steps(truth.chunks),
        **{f"demonstrations in {bins} bins": in_bins(truth.chunks, bins) for bins in (rates.bins, TOKENS)},
        **{f"low rate alone, {name}": knots(how, 0 * scale) for name, how in connected.items()},
        "noise at the high rate": noisy(truth, scale, seed=0),
        **{f"the same noise on low-rate knots, {name}": knots(how, scale) for name, how in connected.items()},
    }
    return [Control(label, _open_loop(rates, each, truth.chunks)) for label, each in chunks.items()]
