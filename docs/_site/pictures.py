"""Draw the pictures of the documentation into docs/pictures.

    python docs/_site/pictures.py

Two ways around an obstacle are an exact policy: with two equally likely chunks, the best velocity field has a closed
form, so that what is seen is the methods' own doing and not that of a network. Executed actions come from
results/adroit-door/executed.json, which benchmarks/slim.py takes from a comparison; compared methods from results/.
Nothing here is drawn by hand.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from torch import Tensor

from segue.lab.report.figures import looks
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan, Request
from segue.strategies.blend import TemporalEnsembling
from segue.strategies.flow import Field, integrate
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.rtc import RTC, vjp
from segue.strategies.training_time_rtc import TrainingTimeRTC
from segue.strategies.weights import Shape, schedule

ROOT = Path(__file__).parents[2]
HORIZON, DELAY, EXECUTION_HORIZON = 32, 6, 8
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segue",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
}
OLD, GHOST = "#888888", "#cccccc"


def ways(start: int) -> Tensor:
    """The two ways around the obstacle, from step ``start`` on. Shape (2, horizon, 1): lateral position [m]."""
    progress = (start + torch.arange(HORIZON, dtype=torch.float64)) / 40
    bow = 0.1 * torch.sin(torch.pi * progress.clamp(0, 1)) ** 2
    return torch.stack([bow, -bow])[..., None]


def exact_field(chunks: Tensor, weights: Tensor) -> Field:
    """The best velocity field where both chunks are equally likely, and the reference in training is the chunk itself.

    With ``tau = t + w (1 - t)`` per position, ``x = tau A + (1 - tau) noise``, so that chunk A has the likelihood of a
    Gaussian with mean ``tau A`` and deviation ``1 - tau``, and ``v = (E[A | x] - x) / (1 - t)``.

    Args:
        chunks: Shape (2, horizon, action), in units in which noise has deviation 1.
        weights: Shape (1, horizon).
    """

    def field(x: Tensor, t: float) -> Tensor:
        tau = (t + weights * (1 - t))[..., None]
        error = ((x - tau * chunks) / (1 - tau).clamp(min=0.05)) ** 2  # at tau = 1, where A itself is seen, not exact
        share = torch.softmax(-error.sum((1, 2)) / 2, 0)
        return ((share[:, None, None] * chunks).sum(0, keepdim=True) - x) / (1 - t)

    return field


def continued(strategy: Strategy, old: Tensor, noise: Tensor, start: int, scale: float) -> NDArray[np.float64]:
    """The chunk at ``start`` that follows the one at zero, ``old``. Shape (horizon,) [m]."""
    held = torch.cat([old[start:], old[-1:].expand(start, 1)])[None] / scale
    known = torch.tensor([HORIZON - start])
    prefix = Prefix(held, known, torch.tensor([DELAY]), torch.ones((1, HORIZON), dtype=torch.int64))
    hooks = strategy.hooks(prefix)
    field = exact_field(ways(start) / scale, hooks.weights)
    chunk = integrate(field, noise, hooks.weights, held, steps=10, guide=hooks.guide)
    return scale * hooks.finish(chunk)[0, :, 0].numpy()


def two_ways() -> Figure:
    """What becomes of a robot that goes left when the next chunk would go right."""
    scale, start = 0.05, EXECUTION_HORIZON
    old = ways(0)[0]
    rows: list[tuple[str, str, Strategy]] = [
        ("naive", "naive: joined as it is", Naive()),
        ("ensembling", "ensembling: the mean", TemporalEnsembling()),
        ("training-time-rtc", "training-time RTC: a prefix", TrainingTimeRTC()),
        ("rtc", "RTC: guidance", RTC(vjp)),
        ("legato", "Legato: gain 0.25", Legato()),
    ]
    # A noise that leads the plain policy to the other way: the first of the seeds that does.
    draws = (torch.randn((1, HORIZON, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
             for seed in range(100))  # fmt: skip
    noise = next(draw for draw in draws if continued(Naive(), old, draw, start, scale)[12] < -0.05)
    figure = Figure(figsize=(9.5, 2.6))
    every = figure.subplots(1, len(rows), sharex=True, sharey=True)
    looked = looks([name for name, _, _ in rows])
    for axes, (name, label, strategy) in zip(every, rows, strict=True):
        chunk = continued(strategy, old, noise, start, scale)
        axes.add_patch(Ellipse((20, 0), 9, 0.08, color=GHOST))
        for way in ways(0):
            axes.plot(np.arange(HORIZON), way[:, 0], color=GHOST, linewidth=1, linestyle=(0, (3, 2)))
        joint = start + DELAY
        steps = np.arange(start, start + HORIZON)
        axes.plot(np.arange(joint), old[:joint, 0], "o-", color=OLD, markersize=2.5, linewidth=1)
        axes.plot([joint - 1, joint], [old[joint - 1, 0], chunk[DELAY]], color="black", linewidth=2)
        axes.plot(steps[DELAY:], chunk[DELAY:], "o-", color=looked[name].colour, markersize=2.5, linewidth=1)
        axes.set_title(label.replace(": ", ":\n"))
        axes.set_xlabel("control step")
    every[0].set_ylabel("lateral position [m]")
    figure.tight_layout()
    return figure


def timeline() -> Figure:
    """Which action of which chunk the plan gives the robot at each step."""
    plan = Plan(HORIZON, 1, EXECUTION_HORIZON, WindowQuantile(DELAY))
    arriving: dict[int, Request] = {}
    executed: dict[int, list[int]] = {}
    for step in range(-DELAY, 4 * EXECUTION_HORIZON + DELAY):
        if step in arriving:
            plan.deliver(arriving.pop(step), np.zeros((HORIZON, 1), np.float32))
        if request := plan.request():
            arriving[step + DELAY] = request
        tick = plan.tick()
        if tick.index is not None:
            executed.setdefault(tick.step - tick.index, []).append(tick.step)
    figure = Figure(figsize=(8, 2.4))
    axes: Axes = figure.subplots()
    for row, (start, steps) in enumerate(executed.items()):
        axes.barh(row, HORIZON, left=start, height=0.5, color=GHOST, alpha=0.5)
        axes.barh(row, len(steps), left=steps[0], height=0.5, color=f"C{row}")
        axes.plot([start, start], [row - 0.25, row + 0.25], color="black", linewidth=1)
        axes.plot(steps[0], row, "k>", markersize=5)
    axes.set(xlabel="control step", xlim=(0, None), yticks=range(len(executed)), ylim=(len(executed) - 0.5, -0.5))
    axes.set_yticklabels([f"chunk {row}" for row in range(len(executed))])
    figure.tight_layout()
    return figure


def schedules() -> Figure:
    """Weights over a chunk, by shape."""
    figure = Figure(figsize=(6.5, 2.6))
    axes: Axes = figure.subplots()
    delay, ramp = torch.tensor([DELAY]), torch.tensor([HORIZON - EXECUTION_HORIZON - DELAY])
    for shape in get_args(Shape):
        axes.plot(schedule(HORIZON, delay, ramp, shape)[0], "o-", markersize=3, linewidth=1, label=shape)
    for at in (DELAY, HORIZON - EXECUTION_HORIZON):
        axes.axvline(at - 0.5, color=OLD, linewidth=0.8, linestyle=(0, (3, 2)))
    for middle, text in ((2.5, "committed"), (14.5, "overlap"), (27.5, "free")):
        axes.text(middle, 1.07, text, ha="center", color=OLD)
    axes.set(xlabel="position in the new chunk", ylabel="weight $w$", ylim=(-0.05, 1.2))
    axes.legend(frameon=False)
    figure.tight_layout()
    return figure


def executed() -> Figure:
    """A second of one action of the door task under a delay of 80 ms, the same episode under four methods."""
    content = json.loads((ROOT / "results" / "adroit-door" / "executed.json").read_text())
    dt, first, methods = content["dt"], content["first"], content["methods"]
    figure = Figure(figsize=(9.5, 2.5))
    every = figure.subplots(1, len(methods), sharex=True, sharey=True)
    looked = looks(list(methods))
    for axes, (name, drawn) in zip(every, methods.items(), strict=True):
        line = np.array(drawn["commands"])
        axes.vlines([dt * step for step in drawn["seams"]], line.min(), line.max(), color=GHOST, linewidth=0.8)
        axes.plot(dt * np.arange(first, first + len(line)), line, color=looked[name].colour, linewidth=1.2)
        axes.set_title(drawn["label"])
        axes.set_xlabel("time [s]")
    every[0].set_ylabel("one joint's command")
    figure.tight_layout()
    return figure


COMPARED = {
    "naive": "naive",
    "rtc": "RTC as published",
    "naive:predictor=learned": "naive, predicted",
    "predictive": "predictive (the default)",
    "predictive-legato": "predictive Legato (trained)",
}
MEASURED = {
    "adroit-door": ("door: success", "success"),
    "metaworld/peg-insert-side": ("peg: success", "success"),
    "metaworld/pick-place": ("pick and place: success", "success"),
    "push-t": ("Push-T: score", "score"),
}


def compared() -> Figure:
    """Success of five methods on four tasks over the delay, three trainings of 100 episodes each."""
    figure = Figure(figsize=(7.2, 2.3), layout="constrained")
    of_methods = looks(list(COMPARED))
    for place, (name, (title, metric)) in enumerate(MEASURED.items()):
        axes = figure.add_subplot(1, len(MEASURED), place + 1)
        cells = json.loads((ROOT / "results" / name / "results.json").read_text())["cells"]
        delays = sorted({cell["delay"] for cell in cells})
        for method in COMPARED:
            means = [
                np.mean([c["episodes"][metric] for c in cells if (c["method"], c["delay"]) == (method, delay)])
                for delay in delays
            ]
            look = of_methods[method]
            axes.plot(delays, means, marker=look.marker, color=look.colour, ms=3, lw=1.2)
        axes.set(title=title, xlabel="delay [steps]", ylim=(0, 1.03), xticks=delays)
        if place:
            axes.set_yticklabels([])
    figure.legend(figure.axes[0].lines, list(COMPARED.values()), loc="outside lower center", ncols=5, frameon=False,
                  fontsize=7.5, columnspacing=1, handlelength=1.6)  # fmt: skip
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "timeline": timeline,
    "two_ways": two_ways,
    "schedules": schedules,
    "executed": executed,
    "compared": compared,
}


def draw(folder: Path, names: Sequence[str] = tuple(PICTURES)) -> list[Path]:
    """Write the pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        with mpl.rc_context(STYLE):
            path = folder / f"{name}.svg"
            PICTURES[name]().savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            written.append(path)
    return written


if __name__ == "__main__":
    for path in draw(ROOT / "docs" / "pictures"):
        print(path)
