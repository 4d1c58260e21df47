"""How the cost of training, inference, evaluation and data grows: tables and a picture in docs/scale.md.

    python benchmarks/growth.py            measures (two minutes, one thread), writes docs/scale.md and its picture
    python benchmarks/growth.py --quick    one round of the smallest sizes, and writes nothing

One size is changed at a time, the others are those of `adroit-door`: 28 actions, a horizon of 32, a network of width
512, batches of 256, 5 solver steps. Each time is the least of the rounds. Times are of this machine; how they grow
is of the code.
"""

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import marked
import matplotlib as mpl
import numpy as np
import ratios
import torch
from matplotlib import pyplot as plt

from segue.data.episodes import Episodes
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.tasks.tasks import task
from segue.methods.methods import method
from segue.policies.families import config_for, policy_for
from segue.policies.policy import Policy
from segue.strategies.hooks import nothing_known
from segue.training.config import TrainingConfig

PAGE, PICTURE = Path("docs/scale.md"), Path("docs/pictures/growth.svg")
USUAL: dict[str, int] = {"width": 512, "horizon": 32, "actions": 28, "batch": 256}
TRAINING = {"width": (128, 256, 512, 1024, 2048), "horizon": (8, 16, 32, 64, 128), "actions": (7, 14, 28, 56, 112),
            "batch": (16, 64, 256, 1024)}  # fmt: skip
INFERENCE = {"solver steps": (1, 2, 5, 10, 20), "batch": (1, 4, 16, 64, 256), "horizon": (8, 16, 32, 64, 128)}
FRAMES = (1_000, 10_000, 100_000)
SIDE = 32
LOADS = """
import re, sys, numpy as np
from pathlib import Path
from segue.learn import load_episodes
own = lambda: int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = own()
episodes = load_episodes(sys.argv[1])
[pictures] = episodes.pictures.values()
for frame in np.random.default_rng(0).integers(0, episodes.frames, 1000):
    np.asarray(pictures[frame]).sum()
print(before, own())
"""


def episodes_of(actions: int) -> Episodes:
    """Ten random walks of two hundred steps, whose states are as many as their actions."""
    walk = np.random.default_rng(0).normal(size=(2000, actions)).cumsum(0).astype(np.float32)
    names = tuple(f"joint {each}" for each in range(actions))
    return Episodes(walk, walk, np.arange(200, 2001, 200), 0.01, names, names, (None,) * actions, "random walks")


def policy_of(episodes: Episodes, width: int, horizon: int) -> Policy:
    torch.manual_seed(0)
    return policy_for(config_for("flow", episodes, horizon=horizon, network_settings={"width": width}), episodes)


def least(work: Callable[[], object], rounds: int) -> float:
    """Least time of a call, after one that is not counted [s]."""
    work()
    return min(ratios.seconds(work, 1) for _ in range(rounds))


def trained(sizes: Mapping[str, int], rounds: int) -> dict[str, Any]:
    """One update of plain flow matching."""
    episodes = episodes_of(sizes["actions"])
    policy = policy_of(episodes, sizes["width"], sizes["horizon"])
    update = ratios.training(policy, episodes, TrainingConfig(batch=sizes["batch"]))["plain"]
    parameters = sum(weight.numel() for weight in policy.parameters())
    return {"parameters": parameters, "samples per s": sizes["batch"] / least(update, rounds)}


def inferred(steps: int, batch: int, horizon: int, rounds: int) -> dict[str, Any]:
    """One inference of a batch by naive sampling."""
    episodes = episodes_of(USUAL["actions"])
    policy = policy_of(episodes, USUAL["width"], horizon).eval()
    noise, context = torch.randn(batch, horizon, USUAL["actions"]), torch.as_tensor(episodes.observation[:batch])
    prefix = nothing_known(noise)

    @torch.no_grad()
    def sample() -> torch.Tensor:
        return policy.continue_chunk(method("naive").strategy, context, prefix, noise, steps)

    return {"ms": 1e3 * least(sample, 4 * rounds)}


class Timed:
    """Any object, and the time that is spent in its methods [s]."""

    def __init__(self, inner: Any, clock: list[float]) -> None:
        self._inner, self._clock = inner, clock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def timed(*args: Any, **settings: Any) -> Any:
            started = time.perf_counter()
            try:
                return found(*args, **settings)
            finally:
                self._clock[0] += time.perf_counter() - started

        return timed


def evaluated(name: str, episodes: int) -> dict[str, Any]:
    """Episodes of an untrained policy in one process, and what simulator and network have of the time."""
    chosen, clocks = task(name), {"simulator": [0.0], "network": [0.0]}
    bound = method("naive").bound(policy_of(chosen.demonstrations(), USUAL["width"], chosen.horizon).eval())
    robots: list[Any] = [Timed(chosen.simulator(), clocks["simulator"]) for _ in range(episodes)]
    timing = Timing(chosen.horizon, chosen.execution_horizon, Fixed(4), method("naive").handover, chosen.max_steps)
    scales = Scales.of(chosen.demonstrations(), chosen.simulator().spec)
    started = time.perf_counter()
    rollout(Timed(bound, clocks["network"]), robots, range(episodes), timing, scales)  # type: ignore[arg-type]
    whole = time.perf_counter() - started
    shares = {f"{part}'s share": clock[0] / whole for part, clock in clocks.items()}
    return {"episodes per s": episodes / whole, **shares, "both": sum(shares.values())}


def remembered(frames: int, folder: Path) -> dict[str, Any]:
    """A data set with pictures, and what reading a thousand of them anywhere in it adds to a process's own memory."""
    file = folder / f"{frames}.npz"
    columns: dict[str, Any] = {
        "observation": np.zeros((frames, 2)), "action": np.zeros((frames, 2)), "dt": 0.02,
        "episode_ends": np.arange(100, frames + 1, 100), "pictures/front": np.zeros((frames, SIDE, SIDE, 3), np.uint8),
    }  # fmt: skip
    np.savez(file, **columns)
    done = subprocess.run([sys.executable, "-c", LOADS, str(file)], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    size = file.stat().st_size
    file.unlink()
    return {"file, MB": size / 1e6, "process, MB more": (after - before) / 1e3}


def rows(quick: bool, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every table, a row for every size."""
    rounds = 1 if quick else 5

    def sizes(all_of_them: Sequence[int]) -> Sequence[int]:
        return all_of_them[:1] if quick else all_of_them

    usual = {"solver steps": 5, "batch": 1, "horizon": USUAL["horizon"]}
    return {
        "training": [
            {"changed": name, "to": size, **trained(USUAL | {name: size}, rounds)}
            for name, every in TRAINING.items() for size in sizes(every)
        ],
        "inference": [
            {"changed": name, "to": size, **inferred(*(usual | {name: size}).values(), rounds=rounds)}
            for name, every in INFERENCE.items() for size in sizes(every)
        ],
        "evaluation": [
            {"task": name, **evaluated(name, 2 if quick else 25)}
            for name in (["push-t"] if quick else ["push-t", "adroit-door", "metaworld/peg-insert-side"])
        ],
        "data": [{"frames": frames, **remembered(frames, folder)} for frames in sizes(FRAMES)],
    }  # fmt: skip


def said(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """In Markdown."""
    head = list(found[0])
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---:' for _ in head)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(said(row[name]) for name in head)} |" for row in found)]) + "\n"


def draw(measured: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """What each size does to an update and to an inference, both axes by factors."""
    mpl.rcParams |= {"svg.hashsalt": "growth", "font.size": 9, "svg.fonttype": "none"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, (part, of), label in zip(
        axes, (("training", "samples per s"), ("inference", "ms")), ("samples per s", "one inference [ms]"), strict=True
    ):
        for name in dict.fromkeys(row["changed"] for row in measured[part]):
            points = [(row["to"], row[of]) for row in measured[part] if row["changed"] == name]
            axis.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axis.set(xlabel="size", ylabel=label, title=part)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of the smallest sizes, and write nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measured = rows(given.quick, Path(folder))
    for name, found in measured.items():
        print(f"{name}\n{table(found)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{platform.machine()}, torch {torch.__version__}, one thread; this process {peak:.0f} MB at most")
    if not given.quick:
        draw(measured, PICTURE)
        page = marked.filled(PAGE.read_text(), "growth", lambda name: table(measured[name]))
        marked.update(PAGE, page, check=False, source=Path(sys.argv[0]))


if __name__ == "__main__":
    main()
