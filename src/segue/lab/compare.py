"""A whole comparison on a task: train every policy on every training seed, roll out every cell, write the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET, structs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from segue.data.episodes import Episodes
from segue.lab import kept, results
from segue.lab.delays import DelayModel, Fixed
from segue.lab.processes import pool
from segue.lab.report.page import write_report
from segue.lab.results import CellResult, MethodFacts
from segue.lab.sweep import Cell
from segue.lab.tasks.tasks import Task, task
from segue.methods.methods import AUTOENCODER, LATENT, PREDICTED, PREDICTOR, Method, objective
from segue.methods.parts import parts_of
from segue.policies.autoencoder.autoencoder import AutoencoderConfig
from segue.policies.families import family_of
from segue.training import autoencoder as autoencoders
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder
from segue.training.context_predictor import train_context_predictor
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import FIRST_STAGE, Recipe, train_policy

Item = TypeVar("Item")


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

    @property
    def needs_autoencoder(self) -> bool:
        """Whether a method lives in a latent space, or refines with it."""
        return any(method.refines_actions or method.policy.startswith(LATENT) for method in self.methods)


def run(
    comparison: Comparison, *, runs: Path, out: Path, workers: int, command: str, console: Console, extend: bool = False
) -> Path:
    """Train what is missing, evaluate everything, write results and report; returns the path of ``out / results.json``.

    Args:
        comparison: What is compared.
        runs: Folder of the policies, one folder in it per training seed.
        out: Folder of the results.
        workers: Processes.
        command: Noted in the results.
        console: Where progress is shown.
        extend: Take over the rows that ``out / results.json`` has of the same methods at the same budget, as it has
            them, and neither train nor roll out what they need.
    """
    before = cells_of(out / "results.json", comparison) if extend else {}
    left = tuple(each for each in comparison.methods if each.name not in before)
    train(replace(comparison, methods=left), runs, workers, console)
    return evaluate(
        comparison,
        [runs / f"seed-{seed}" for seed in range(comparison.training_seeds)],
        out=out,
        workers=workers,
        command=command,
        console=console,
        before=before,
    )


def cells_of(path: Path, comparison: Comparison) -> dict[str, list[CellResult]]:
    """Cells of an earlier results file that may stand beside those of a comparison, by method; each says its commit.

    A method that the file has with other settings, or not in full, is left out; where there is no file, every one is.
    """
    if not path.is_file():
        return {}
    content = results.read(path)
    budget = content.budget
    alike = (content.task.name, budget["episodes per cell"]) == (comparison.task, comparison.episodes)
    if not alike or budget.get("delays drawn", "") != _drawn(comparison):
        return {}
    if str(comparison.recipe.updates) not in str(budget["updates per policy"]).split(" and "):
        return {}
    # Settings of files from before there was a choice.
    usual = {"noise": "fresh", "scale": 1.0, "share": 0.0, "predictor": "none", "ramp_seconds": None}
    there = {each.name: each.settings for each in content.methods}
    wanted = {(delay.typical, seed) for delay in comparison.delays for seed in range(comparison.training_seeds)}
    found = {}
    for each in comparison.methods:
        cells = [
            structs.replace(cell, commit=content.commit if cell.commit is UNSET else cell.commit)
            for cell in content.cells
            if cell.method == each.name and (cell.delay, cell.training_seed) in wanted
        ]
        now, before = each.description()["settings"], there.get(each.name, {})
        same = before.keys() <= now.keys() and all(before.get(key, usual.get(key)) == now[key] for key in now)
        if same and {(cell.delay, cell.training_seed) for cell in cells} == wanted:
            found[each.name] = cells
    return found


def _drawn(comparison: Comparison) -> str:
    """How delays are drawn that are not the same at every inference; empty for those that are."""
    return ", ".join(str(delay) for delay in comparison.delays if not isinstance(delay, Fixed))


def train(comparison: Comparison, runs: Path, workers: int, console: Console) -> None:
    """Train all policies of all seeds: autoencoders and first stages here, with a progress bar, then side by side."""
    wanted = dict.fromkeys(_name(method) for method in comparison.methods)
    episodes = task(comparison.task).demonstrations()
    jobs = []
    for seed in range(comparison.training_seeds):
        folder = runs / f"seed-{seed}"
        if comparison.needs_autoencoder:
            _train_autoencoder(comparison, episodes, folder, seed, console)
        if _predicting(comparison) and not episodes.pictures:
            train_predictor(
                episodes, replace(comparison.predictor, seed=seed), run=folder / PREDICTED / PREDICTOR,
                task=comparison.task, resume=True, console=console,
            )  # fmt: skip
        recipes = {name: _recipe(comparison, name, folder) for name in wanted}
        missing = {name: recipe for name, recipe in recipes.items() if not _done(folder / name, name, recipe)}
        firsts = {_place(folder, name)[0]: each for name, each in missing.items() if each.first_stage_updates}
        for place, recipe in firsts.items():
            console.print(f"[bold]training seed {seed}[/]: {place / FIRST_STAGE}, then {', '.join(missing)}")
            train_policy(episodes, recipe, run=place, seed=seed, task=comparison.task, console=console)
        jobs += [(comparison, name, seed, folder) for name in missing]
    if jobs:
        with pool(workers) as processes:
            for _ in counted(processes.map(_train_quietly, jobs), len(jobs), "second stages, side by side", console):
                pass
    if episodes.pictures:
        _train_context_predictors(comparison, episodes, runs, console)


def counted(items: Iterable[Item], total: int, what: str, console: Console) -> Iterator[Item]:
    """The items as they come, with a bar in a terminal and a plain line for every tenth of them elsewhere."""
    columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=total)
        for done, item in enumerate(items, start=1):
            progress.advance(bar)
            if not console.is_terminal and (done * 10 // total > (done - 1) * 10 // total):
                console.print(f"{what}: {done} of {total}", highlight=False, soft_wrap=True)
            yield item


def _train_quietly(job: tuple[Comparison, str, int, Path]) -> None:
    comparison, name, seed, folder = job
    place, short = _place(folder, name)
    train_policy(
        task(comparison.task).demonstrations(), _recipe(comparison, name, folder), short, objective(name), run=place,
        seed=seed, task=comparison.task, console=Console(quiet=True),
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


def _train_context_predictors(comparison: Comparison, episodes: Episodes, runs: Path, console: Console) -> None:
    """A predictor for each policy that needs one, in what that policy makes of pictures: after the policies."""
    for seed in range(comparison.training_seeds):
        home, training = runs / f"seed-{seed}" / PREDICTED, replace(comparison.predictor, seed=seed)
        for name in _predicting(comparison):
            train_context_predictor(
                episodes, checkpoint.load(home / name).policy(), training, run=home / PREDICTOR / name,
                task=comparison.task, resume=True, console=console,
            )  # fmt: skip


def _name(method: Method) -> str:
    """Name of a method's policy in the folder of a training seed; see `segue.methods.parts.home_of`."""
    return f"{PREDICTED}/{method.policy}" if method.predictor == "learned" else method.policy


def _place(folder: Path, name: str) -> tuple[Path, str]:
    """Run of a policy below that of its training seed, and its objective's name there."""
    space, _, short = name.rpartition("/")
    return folder / space, short


def _recipe(comparison: Comparison, name: str, folder: Path) -> Recipe:
    """The recipe for the family that an objective trains, and for the space that the policy lives in."""
    recipe = comparison.recipe.of_family(family_of(objective(name)))
    if name.startswith(PREDICTED):
        recipe = replace(recipe, updates=recipe.updates - comparison.predictor.cost)
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
    before: Mapping[str, Sequence[CellResult]] | None = None,
) -> Path:
    """Roll out every cell with the policies in the runs, one run per training seed; returns the path of the results.

    Args:
        comparison: What is compared.
        runs: One per training seed.
        out: Folder of ``results.json`` and ``report.html``; ``out / cells`` keeps what is done, see `segue.lab.kept`.
        workers: Processes.
        command: Noted in the results.
        console: Where progress is shown.
        before: Results of cells that are there already, by method.
    """
    before = before or {}
    left = [each for each in comparison.methods if each.name not in before]
    cells = [
        Cell(
            comparison.task, method, parts[method.name].policy.resolve(), seed, delay, comparison.execution_horizon,
            comparison.episodes, comparison.slowdowns.get(method.name, 1.0), parts[method.name].autoencoder,
            parts[method.name].predictor,
        )
        for seed, parts in enumerate(parts_of(run, left) for run in runs)
        for delay in comparison.delays
        for method in left
    ]  # fmt: skip
    what = f"rolling out cells of {comparison.episodes} episodes"
    done = list(counted(kept.run(cells, workers, out / "cells"), len(cells), what, console))
    done += [cell for each in comparison.methods for cell in before.get(each.name, ())]
    settings: Task = task(comparison.task)
    content = results.build(
        settings,
        [MethodFacts(**each.description()) for each in comparison.methods],
        done,
        title=f"{settings.name}: {settings.summary}",
        command=command,
        budget=_budget(comparison, dict.fromkeys(cell.checkpoint for cell in cells), runs, before),
    )
    path = results.write(content, out / "results.json")
    write_report(content, path.with_name("report.html"))
    return path


def _budget(
    comparison: Comparison, policies: Iterable[Path], runs: Sequence[Path], before: Iterable[str]
) -> Mapping[str, Any]:
    """What the policies were trained with, as their checkpoints say, and the autoencoders beside them.

    Policies of rows that were there before are gone; what they were trained for is what was asked (`cells_of`).
    """
    recipes: list[Any] = []
    for path in policies:
        recipe = checkpoint.load(path).info.get("recipe")
        if recipe and recipe.get("autoencoder"):
            recipe = {**recipe, "autoencoder": AUTOENCODER}  # in the run of each training seed
        if recipe not in recipes:
            recipes.append(recipe)
    earlier = [_recipe(comparison, _name(each), Path()).updates for each in comparison.methods if each.name in before]
    updates = dict.fromkeys([*map(str, earlier), *(str(each["updates"]) if each else "unknown" for each in recipes)])
    predictor = comparison.predictor if _predicting(comparison) else None
    budget = {
        "training seeds": comparison.training_seeds,
        "episodes per cell": comparison.episodes,
        "updates per policy": " and ".join(updates),
        "updates per autoencoder": _autoencoder_updates(comparison, runs) or None,
        "updates per predictor": predictor and predictor.updates,
        "counted as updates": predictor and predictor.cost,
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
