"""A whole comparison on a task: train every policy on every training seed, roll out every cell, write the report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from segue.data.episodes import Episodes
from segue.errors import SpecError
from segue.lab import cells, results
from segue.lab.cluster.places import HERE, executor_on
from segue.lab.delays import DelayModel, Fixed
from segue.lab.processes import counted, executor, in_turn
from segue.lab.report.page import write_report
from segue.lab.results import CellResult, MethodFacts, Place
from segue.lab.shards import Shard
from segue.lab.stages import Stages
from segue.lab.sweep import Cell
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import AUTOENCODER, CORRECTION, LATENT, PREDICTED, PREDICTOR, Method, objective
from segue.methods.parts import home_of, parts_of
from segue.policies.autoencoder.autoencoder import AutoencoderConfig
from segue.policies.families import family_of
from segue.training import autoencoder as autoencoders
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder
from segue.training.context_predictor import train_context_predictor
from segue.training.correction.residual import CorrectionTraining, train_correction
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import FIRST_STAGE, Recipe, check_objective, train_policy

CELLS = "cells"
"""Folder of the cells that are done, in that of the results."""


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        task: Name.
        methods: Rows.
        delays: Columns.
        recipe: Of every policy.
        training_seeds: Number of policies of each kind.
        episodes: Per cell.
        execution_horizon: s at zero delay.
        slowdowns: Factor on the delay of methods whose inference takes longer; 1 for those not named.
        autoencoder: Training of the autoencoder, where a method needs one.
        predictor: Training of the predictor, where a method needs one; its policies are trained for so many updates
            fewer as that costs.
        correction: Training of the corrections, where methods need them, on top of what the policies are trained for.
    """

    task: str
    methods: tuple[Method, ...]
    delays: tuple[DelayModel, ...]
    recipe: Recipe
    training_seeds: int
    episodes: int
    execution_horizon: int
    slowdowns: Mapping[str, float] = field(default_factory=dict)
    autoencoder: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    predictor: PredictorTraining = field(default_factory=PredictorTraining)
    correction: CorrectionTraining = field(default_factory=CorrectionTraining)

    @property
    def needs_autoencoder(self) -> bool:
        """Whether a method lives in a latent space, or refines with it."""
        return any(method.refines_actions or method.policy.startswith(LATENT) for method in self.methods)


def run(
    comparison: Comparison,
    *,
    runs: Path,
    out: Path,
    workers: int,
    command: str,
    console: Console,
    shard: Shard = Shard(),  # noqa: B008  # it is frozen
    on: str = HERE,
) -> Path:
    """Train what is missing, evaluate everything, write results and report; returns the path of ``out / results.json``.

    Args:
        comparison: What is compared.
        runs: Folder of the policies, one folder in it per training seed.
        out: Folder of the results.
        workers: Processes.
        command: Noted in the results.
        console: Where progress is shown.
        shard: Part of the comparison that is computed; the results of one that is not all lie in a folder of their own,
            ``out / shard-k-of-n``.
        on: Where cells are rolled out, see `segue.lab.cluster.places.executor_on`; policies are trained here.
    """
    wanted = part_of(comparison, shard)
    with executor_on(on, workers):  # what cannot be reached should be known before hours of training
        pass
    for name in map(policy_name, comparison.methods):  # what cannot be is refused before anything is trained
        check_objective(objective(name), name, _recipe(comparison, name, runs))
    train(comparison, runs, workers, console, wanted)
    return evaluate(
        comparison,
        [runs / f"seed-{seed}" for seed in range(comparison.training_seeds)],
        out=out,
        workers=workers,
        command=command,
        console=console,
        shard=shard,
        on=on,
    )


Part = Mapping[int, Sequence[tuple[Method, DelayModel]]]
"""Methods and delays by training seed."""


def part_of(comparison: Comparison, shard: Shard) -> Part:
    """What a shard computes: blocks of one training seed and policy stay together, for each has to be trained."""
    policies = list(dict.fromkeys(map(policy_name, comparison.methods)))
    methods = sorted(comparison.methods, key=lambda each: policies.index(policy_name(each)))
    seeds = range(comparison.training_seeds)
    plan = [(seed, each, delay) for seed in seeds for each in methods for delay in comparison.delays]
    part: dict[int, list[tuple[Method, DelayModel]]] = {}
    for seed, each, delay in shard.of(plan):
        part.setdefault(seed, []).append((each, delay))
    if not part:
        raise SpecError(
            got=f"part {shard.number} of {shard.count}, of {len(plan)} cells",
            expected="at most as many parts as there are cells",
            change=f"--shard k/{len(plan)} or fewer",
        )
    return part


def _drawn(comparison: Comparison) -> str:
    """How delays are drawn that are not the same at every inference; empty for those that are."""
    return ", ".join(str(delay) for delay in comparison.delays if not isinstance(delay, Fixed))


def train(comparison: Comparison, runs: Path, workers: int, console: Console, wanted: Part | None = None) -> None:
    """Train all policies that are wanted: autoencoders and first stages here, with a progress bar, then side by side.

    Where others train in the same folders at the same time, each stage is trained by one, and the others wait for it.
    """
    episodes, runs = task(comparison.task).demonstrations(), runs.resolve()  # for processes that work elsewhere
    jobs, parts = [], dict[int, Comparison]()
    for seed, those in (wanted or part_of(comparison, Shard())).items():
        part = replace(comparison, methods=tuple({each.name: each for each, _ in those}.values()))
        parts[seed], folder = part, runs / f"seed-{seed}"
        stages = Stages(runs, comparison.task, seed)
        if part.needs_autoencoder:
            with stages.alone(AUTOENCODER, comparison.autoencoder, console):
                _train_autoencoder(comparison, episodes, folder, seed, console)
        if _predicting(part) and not episodes.pictures:
            with stages.alone(f"{PREDICTED}/{PREDICTOR}", comparison.predictor, console):
                train_predictor(
                    episodes, replace(comparison.predictor, seed=seed), run=folder / PREDICTED / PREDICTOR,
                    task=comparison.task, resume=True, console=console,
                )  # fmt: skip
        recipes = {name: _recipe(comparison, name, folder) for name in dict.fromkeys(map(policy_name, part.methods))}
        missing = {name: recipe for name, recipe in recipes.items() if not _done(folder / name, name, recipe)}
        firsts = {_place(folder, name)[0]: each for name, each in missing.items() if each.first_stage_updates}
        for place, recipe in firsts.items():
            console.print(f"[bold]training seed {seed}[/]: {place / FIRST_STAGE}, then {', '.join(missing)}")
            with stages.alone(str(place.relative_to(folder) / FIRST_STAGE), recipe, console):
                train_policy(episodes, recipe, run=place, seed=seed, task=comparison.task, console=console)
        jobs += [(comparison, name, seed, folder) for name in missing]
    if jobs:
        with executor(workers) as work:
            for _ in counted(in_turn(work, _train_quietly, jobs), len(jobs), "second stages, side by side", console):
                pass
    for seed, part in parts.items():
        _train_corrections(part, episodes, runs / f"seed-{seed}", seed, console)
    if episodes.pictures:
        for seed, part in parts.items():
            _train_context_predictors(part, episodes, runs / f"seed-{seed}", seed, console)


def _train_quietly(job: tuple[Comparison, str, int, Path]) -> None:
    comparison, name, seed, folder = job
    (place, short), recipe, quiet = _place(folder, name), _recipe(comparison, name, folder), Console(quiet=True)
    with Stages(folder.parent, comparison.task, seed).alone(name, recipe, quiet):
        train_policy(
            task(comparison.task).demonstrations(), recipe, short, objective(name), run=place, seed=seed,
            task=comparison.task, console=quiet,
        )  # fmt: skip


def _train_autoencoder(comparison: Comparison, episodes: Episodes, folder: Path, seed: int, console: Console) -> None:
    """As `segue train-autoencoder` does by default: a latent as wide as an action."""
    names = tuple(episodes.action_names)
    train_autoencoder(
        episodes, AutoencoderConfig(comparison.recipe.horizon, names, len(names)),
        replace(comparison.autoencoder, seed=seed), run=folder / AUTOENCODER, task=comparison.task, resume=True,
        console=console,
    )  # fmt: skip


def _predicting(comparison: Comparison) -> tuple[str, ...]:
    """Policies that run with a learned predictor."""
    return tuple(dict.fromkeys(each.policy for each in comparison.methods if each.predictor == "learned"))


def _train_context_predictors(
    comparison: Comparison, episodes: Episodes, folder: Path, seed: int, console: Console
) -> None:
    """A predictor for each policy that needs one, in what that policy makes of pictures: after the policies."""
    home, training = folder / PREDICTED, replace(comparison.predictor, seed=seed)
    for name in _predicting(comparison):
        with Stages(folder.parent, comparison.task, seed).alone(f"{PREDICTED}/{PREDICTOR}/{name}", training, console):
            train_context_predictor(
                episodes, checkpoint.load(home / name).policy(), training, run=home / PREDICTOR / name,
                task=comparison.task, resume=True, console=console,
            )  # fmt: skip


def _correcting(comparison: Comparison) -> list[Method]:
    """Methods whose actions are corrected, one of each policy."""
    return list({policy_name(each): each for each in comparison.methods if each.correction == "learned"}.values())


def _train_corrections(comparison: Comparison, episodes: Episodes, folder: Path, seed: int, console: Console) -> None:
    """A correction for each policy that needs one, as it is trained: after the policies."""
    training = replace(comparison.correction, seed=seed)
    for each in _correcting(comparison):
        home, name = home_of(folder, each), each.policy
        place = home / CORRECTION / name
        with Stages(folder.parent, comparison.task, seed).alone(str(place.relative_to(folder)), training, console):
            train_correction(
                episodes, checkpoint.load(home / name).policy(), training, run=place, task=comparison.task, resume=True,
                console=console,
            )  # fmt: skip


def policy_name(method: Method) -> str:
    """Name of a method's policy in the folder of a training seed; see `segue.methods.parts.home_of`."""
    return f"{PREDICTED}/{method.policy}" if method.predictor == "learned" else method.policy


def _place(folder: Path, name: str) -> tuple[Path, str]:
    """Run of a policy below that of its training seed, and its objective's name there."""
    space, _, short = name.rpartition("/")
    return folder / space, short


def _recipe(comparison: Comparison, name: str, folder: Path) -> Recipe:
    """The recipe for the family that an objective trains, and for the space that the policy lives in.

    Raises:
        SpecError: The predictor's share of the budget leaves the policy no updates.
    """
    recipe = comparison.recipe.of_family(family_of(objective(name)))
    if name.startswith(PREDICTED):
        cost = comparison.predictor.cost
        if recipe.updates < cost + 2:  # two stages
            raise SpecError(
                got=f"{recipe.updates} updates for {name}, of which its predictor takes {cost}",
                expected=f"at least {cost + 2}",
                change="raise --updates, or leave out methods with a predictor",
            )
        recipe = replace(recipe, updates=recipe.updates - cost)
    if LATENT not in name:
        return recipe
    return replace(recipe, relative=False, autoencoder=folder / AUTOENCODER)  # autoencoders know absolute actions


def _done(folder: Path, name: str, recipe: Recipe) -> bool:
    """Whether the policy is trained to the end by this recipe; if not, `train_policy` goes on, or says what differs."""
    if not (folder / "last").exists():
        return False
    info = checkpoint.load(folder).info
    wanted = {
        "update": recipe.updates - recipe.first_stage_updates,
        "objective": checkpoint.as_json(asdict(objective(name))),  # type: ignore[arg-type]
        # Wherever its autoencoder lies: folders are moved.
        "recipe": checkpoint.as_json(asdict(replace(recipe, autoencoder=None))),
    }
    return {**info, "recipe": {**info.get("recipe", {}), "autoencoder": None}}.items() >= wanted.items()


def evaluate(
    comparison: Comparison,
    runs: Sequence[Path],
    *,
    out: Path,
    workers: int,
    command: str,
    console: Console,
    shard: Shard = Shard(),  # noqa: B008  # it is frozen
    on: str = HERE,
) -> Path:
    """Roll out every cell with the policies in the runs, one run per training seed; returns the path of the results.

    Args:
        comparison: What is compared.
        runs: One per training seed.
        out: Folder of ``results.json`` and ``report.html``; ``out / cells`` keeps what is done, see `segue.lab.cells`.
        workers: Processes.
        command: Noted in the results.
        console: Where progress is shown.
        shard: Part of the comparison that is rolled out.
        on: Where, see `segue.lab.cluster.places.executor_on`.
    """
    what, found = f"rolling out cells of {comparison.episodes} episodes", dict[int, CellResult]()
    with executor_on(on, workers) as work:
        wanted = cells_of(comparison, runs, part_of(comparison, shard))
        found.update(counted(cells.run(wanted, work, out / CELLS, console), len(wanted), what, console))
    own = {Place(**cell.key) for cell in wanted}
    settings: Task = task(comparison.task)
    content = results.build(
        settings,
        [MethodFacts(**each.description()) for each in comparison.methods],
        [found[number] for number in range(len(wanted))],
        title=f"{settings.name}: {settings.summary}",
        command=command,
        budget=_budget(comparison, dict.fromkeys(cell.checkpoint for cell in wanted), runs),
        missing=[place for place in _places(comparison) if place not in own],
    )
    home = out if shard.count == 1 else out / f"shard-{shard.number}-of-{shard.count}"
    path = results.write(content, home / "results.json")
    write_report(content, path.with_name("report.html"))
    return path


def _places(comparison: Comparison) -> list[Place]:
    """Of all cells, in the order of the rows."""
    delays = sorted(each.typical for each in comparison.delays)
    seeds = range(comparison.training_seeds)
    return [Place(each.name, delay, seed) for seed in seeds for delay in delays for each in comparison.methods]


def cells_of(comparison: Comparison, runs: Sequence[Path], part: Part) -> list[Cell]:
    """Cells of a part of a comparison, in the order of the rows.

    Raises:
        CheckpointError: A policy is missing.
    """
    found: dict[Place, Cell] = {}
    for seed, wanted in part.items():
        parts = parts_of(runs[seed].resolve(), list({each.name: each for each, _ in wanted}.values()))
        for each, delay in wanted:
            cell = Cell(
                comparison.task, each, parts[each.name].policy, seed, delay, comparison.execution_horizon,
                comparison.episodes, comparison.slowdowns.get(each.name, 1.0), parts[each.name].autoencoder,
                parts[each.name].predictor, parts[each.name].correction,
            )  # fmt: skip
            found[Place(**cell.key)] = cell
    return [found[place] for place in _places(comparison) if place in found]


def untrained(comparison: Comparison, runs: Path, part: Part) -> list[tuple[int, str]]:
    """Training seed and policy of what `train` would train for a part."""
    return [
        (seed, name)
        for seed, those in part.items()
        for name in dict.fromkeys(policy_name(each) for each, _ in those)
        if not _done(folder := runs / f"seed-{seed}" / name, name, _recipe(comparison, name, folder.parent))
    ]


def _budget(comparison: Comparison, policies: Iterable[Path], runs: Sequence[Path]) -> Mapping[str, Any]:
    """What the policies were trained with, as their checkpoints say, and the autoencoders beside them."""
    recipes: list[Any] = []
    for path in policies:
        recipe = checkpoint.load(path).info.get("recipe")
        if recipe and recipe.get("autoencoder"):
            recipe = {**recipe, "autoencoder": AUTOENCODER}  # in the run of each training seed
        if recipe not in recipes:
            recipes.append(recipe)
    updates = dict.fromkeys(str(each["updates"]) if each else "unknown" for each in recipes)
    predictor = comparison.predictor if _predicting(comparison) else None
    budget = {
        "training seeds": comparison.training_seeds,
        "episodes per cell": comparison.episodes,
        "updates per policy": " and ".join(updates),
        "updates per autoencoder": _autoencoder_updates(comparison, runs) or None,
        "updates per predictor": predictor and predictor.updates,
        "counted as updates": predictor and predictor.cost,
        "updates per correction": comparison.correction.updates if _correcting(comparison) else None,
        "delays drawn": _drawn(comparison) or None,
    }
    known = {name: value for name, value in budget.items() if value is not None}
    return {**known, "recipe": recipes[0] if len(recipes) == 1 else recipes}


def _autoencoder_updates(comparison: Comparison, runs: Sequence[Path]) -> str:
    """Updates of the autoencoders, where methods need them and they lie in the runs."""
    found = [
        run / AUTOENCODER for run in runs if comparison.needs_autoencoder and checkpoint.started(run / AUTOENCODER)
    ]
    trainings = [checkpoint.load(path, autoencoders.FORMAT).info["training"] for path in found]
    return " and ".join(dict.fromkeys(str(each["updates"]) for each in trainings))
