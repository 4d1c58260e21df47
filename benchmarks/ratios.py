"""What the methods cost, as ratios measured in one run.

Times of this machine say little about another one; ratios of things that are measured in turns, each next to its
reference, do. Every line is the median over the rounds of (variant / reference in the same round), and the middle
half of the rounds beside it.

    python benchmarks/ratios.py [--task adroit-door] [--rounds 30] [--network mlp] [--batch 1]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from segue.data.episodes import Episodes
from segue.lab.delays import Fixed
from segue.lab.recipes import recipe_for
from segue.lab.sweep import Cell, run_cells
from segue.lab.tasks.tasks import task
from segue.methods.methods import method
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, paper_autoencoder, refine
from segue.policies.normalizer import Normalizer
from segue.policies.policy import Policy
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.legato import LegatoObjective
from segue.strategies.naive import FlowMatching
from segue.strategies.objective import Objective
from segue.training import checkpoint
from segue.training.config import TrainingConfig
from segue.training.data import DemonstratedChunks
from segue.training.predictor import Frames, PredictorTraining, distance, predictor_for

DELAY, EXECUTION_HORIZON = 4, 8
STEPS_AHEAD = (4, 8, 12)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Time of one call [s]."""
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats


def measure(work: Mapping[str, Callable[[], object]], rounds: int, repeats: int) -> dict[str, np.ndarray]:
    """Seconds per call, shape (rounds,) each. In each round all take their turn, in an order that changes."""
    order = np.random.default_rng(0)
    for each in work.values():
        seconds(each, repeats)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name in order.permutation(list(work)):
            times[name].append(seconds(work[name], repeats))
    return {name: np.array(values) for name, values in times.items()}


def sampling(policy: Policy, episodes: Episodes, batch: int) -> dict[str, Callable[[], object]]:
    """One whole integration per method, from the same noise to the same reference."""
    horizon, action = policy.spec.horizon, len(policy.spec.action_names)
    noise, reference = torch.randn(2, batch, horizon, action)
    observation = torch.as_tensor(episodes.observation[:batch])
    prefix = Prefix(
        reference=reference,
        known=torch.full((batch,), horizon - EXECUTION_HORIZON),
        delay=torch.full((batch,), DELAY),
        votes=torch.zeros((batch, horizon), dtype=torch.int64),
    )

    @torch.no_grad()
    def sample(strategy: Strategy) -> torch.Tensor:
        return policy.continue_chunk(strategy, observation, prefix, noise, 5)

    names = ("naive", "training-time-rtc", "legato", "rtc-identity", "rtc")
    return {name: partial(sample, method(name).strategy) for name in names}


def refining(policy: Policy, batch: int) -> dict[str, Callable[[], object]]:
    """Encoding and decoding one chunk of the policy's size, and one of the published size (arXiv 2605.24931)."""
    names, horizon = policy.spec.action_names, policy.spec.horizon
    configs = {
        "convolutional": AutoencoderConfig(horizon, names, len(names)),
        "global": paper_autoencoder(names, horizon=horizon),
        "published size": paper_autoencoder(tuple(f"action {i}" for i in range(10))),
    }

    def refiner(config: AutoencoderConfig) -> Callable[[], object]:
        size = len(config.action_names)
        codec = ChunkAutoencoder(config, Normalizer(np.zeros(size), np.ones(size))).eval()
        actions = torch.randn(batch, config.horizon, size)
        return torch.no_grad()(partial(refine, codec, actions))

    return {label: refiner(config) for label, config in configs.items()}


def predicting(episodes: Episodes, batch: int) -> dict[str, Callable[[], object]]:
    """Observations rolled forward over committed actions, and the comparison with what is seen by then."""
    predictor = predictor_for(episodes).eval().requires_grad_(False)
    seen, acted = episodes.observation[:batch], np.stack([episodes.action[: STEPS_AHEAD[-1]]] * batch)

    def ahead(steps: int) -> Callable[[], object]:
        return partial(predictor.ahead, seen, acted, np.full(batch, steps))

    guard = partial(predictor.surprise, seen, acted, np.full(batch, EXECUTION_HORIZON), seen)
    return {**{f"{steps} steps ahead": ahead(steps) for steps in STEPS_AHEAD}, "guard": guard}


def learning_to_predict(episodes: Episodes) -> Callable[[], object]:
    """One update of a predictor as in `segue.training.predictor`, unrolled as far as on average."""
    predictor, training = predictor_for(episodes), PredictorTraining()
    frames = Frames.of(episodes, predictor.device)
    optimizer = torch.optim.AdamW(predictor.parameters(), 0.0, fused=True)
    goes_on = torch.nonzero(frames.left > 0).flatten()

    def update() -> None:
        index = goes_on[torch.randint(0, len(goes_on), (training.batch,))]
        optimizer.zero_grad()
        distance(predictor, frames, index, (1 + training.most_steps) // 2).backward()
        optimizer.step()

    return update


def updates(
    policy: Policy, episodes: Episodes, config: TrainingConfig, objective: Objective, generator: torch.Generator
) -> Callable[[], object]:
    """One update as in `segue.training.loop`."""
    chunks = DemonstratedChunks(episodes, policy)
    optimizer = torch.optim.AdamW(policy.parameters(), 0.0, fused=True)
    if objective.own_chunks:
        own = policy.units.to_robot(chunks.chunks, chunks.observation)
        chunks.own = own.expand(objective.own_chunks, *own.shape)

    def update() -> None:
        index = torch.randint(0, len(chunks), (config.batch,), generator=generator)
        pair = objective.pair(chunks.batch(index, policy, config.own_elapsed, generator), generator)
        optimizer.zero_grad()
        policy.loss(pair, policy.units.encode(chunks.observation[index])).backward()
        optimizer.step()

    return update


def training(policy: Policy, episodes: Episodes, config: TrainingConfig) -> dict[str, Callable[[], object]]:
    """One update per objective, and one renewal of the policy's own chunks."""
    generator = torch.Generator().manual_seed(0)
    renewed, each = DemonstratedChunks(episodes, policy), partial(updates, policy, episodes, config)
    return {
        "plain": each(FlowMatching(), generator),
        "legato, demonstrated references": each(LegatoObjective(own_share=0), generator),
        "legato, own chunks": each(LegatoObjective(), generator),
        "predictor": learning_to_predict(episodes),
        "renewal": lambda: renewed.renew_own(policy, config.own_steps, generator, LegatoObjective().own_chunks),
    }


def episode_rates(name: str, policy: Policy, rounds: int, episodes: int) -> dict[str, np.ndarray]:
    """Episodes per second with one and with two processes, after each process has run its first cell."""
    rates: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), 0, policy, {}, {})
        cell = Cell(name, method("naive"), Path(folder), 0, Fixed(DELAY), EXECUTION_HORIZON, episodes)
        for _ in range(rounds):
            for workers in (1, 2):
                results = run_cells([cell] * (3 * workers), workers)
                for _ in range(workers):
                    next(results)
                started = time.perf_counter()
                rest = sum(1 for _ in results)
                label = f"{workers} worker{'s' * (workers > 1)}"
                rates[label].append(rest * episodes / (time.perf_counter() - started))
    return {label: np.array(values) for label, values in rates.items()}


def row(
    table: Table, what: str, variant: np.ndarray, reference: np.ndarray, scale: float = 1e3, unit: str = "ms"
) -> None:
    ratios = variant / reference
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    table.add_row(what, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{np.median(variant) * scale:.3g} {unit}")


def new_table(title: str, last: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name, side in (("what", "left"), ("ratio", "right"), ("middle half", "right"), (last, "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="adroit-door", help="whose sizes and recipe are used")
    parser.add_argument("--network", help="mlp, mixer, unet or transformer [default: the recipe's]")
    parser.add_argument("--batch", type=int, default=1, help="observations per inference")
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    episodes, recipe = task(chosen.task).demonstrations(), recipe_for(chosen.task)
    if chosen.network:
        recipe = replace(recipe, network=chosen.network, network_settings={})
    policy = recipe.policy(episodes)
    console, config = Console(), recipe.training
    console.print(
        f"{chosen.task}: {recipe.network}, {sum(p.numel() for p in policy.parameters()):,} parameters, one thread"
    )

    times = measure(sampling(policy, episodes, chosen.batch), chosen.rounds, repeats=10)
    table = new_table(f"One chunk of 5 solver steps, batch {chosen.batch}, over plain sampling", "one chunk")
    for name, label in (
        ("training-time-rtc", "training-time RTC"),
        ("legato", "Legato"),
        ("rtc-identity", "RTC, identity Jacobian"),
        ("rtc", "RTC, vector-Jacobian product"),
    ):
        row(table, label, times[name], times["naive"])
    console.print(table)

    work = {"policy": sampling(policy, episodes, chosen.batch)["naive"], **refining(policy, chosen.batch)}
    times = measure(work, chosen.rounds, repeats=10)
    table = new_table(f"Refining one chunk, batch {chosen.batch}, over sampling one of 5 solver steps", "one chunk")
    row(table, "refine, convolutional network", times["convolutional"], times["policy"])
    row(table, "refine, paper's network", times["global"], times["policy"])
    row(table, "refine, paper's network, 48 x 10", times["published size"], times["policy"])
    console.print(table)

    work = {"policy": sampling(policy, episodes, chosen.batch)["naive"], **predicting(episodes, chosen.batch)}
    times = measure(work, chosen.rounds, repeats=10)
    table = new_table(f"Predicting the observation, batch {chosen.batch}, over sampling one of 5 solver steps", "once")
    for steps in STEPS_AHEAD:
        row(table, f"{steps} steps ahead", times[f"{steps} steps ahead"], times["policy"])
    row(table, f"comparing {EXECUTION_HORIZON} steps with what is seen", times["guard"], times["policy"])
    console.print(table)

    times = measure(training(policy, episodes, config), max(chosen.rounds // 3, 1), repeats=1)
    amortised = times["renewal"] / config.own_refresh
    table = new_table(f"One training update of {config.batch} chunks, over a plain update", "one update")
    row(table, "Legato, demonstrated references", times["legato, demonstrated references"], times["plain"])
    row(table, "Legato, own chunks, without their renewal", times["legato, own chunks"], times["plain"])
    row(table, "predictor, one update of its own", times["predictor"], times["plain"])
    label = f"Legato, own chunks, renewed every {config.own_refresh} updates"
    row(table, label, times["legato, own chunks"] + amortised, times["plain"])
    console.print(table)

    rates = episode_rates(chosen.task, policy, rounds=max(chosen.rounds // 15, 1), episodes=6)
    table = new_table("Evaluation, over one process", "episodes/s")
    row(table, "2 workers", rates["2 workers"], rates["1 worker"], scale=1, unit="/s")
    console.print(table)


if __name__ == "__main__":
    main()
