"""What episodes executed, in panels: their actions, the steps around their worst seams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.seams import seam_jump
from segue.core.smoothness import normalised
from segue.errors import MissingExtraError
from segue.lab.report.figures import INK, MUTED, RULE, STYLE, Array, Look, Svg, as_svg, panel
from segue.lab.results import Results, TaskFacts

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise MissingExtraError("matplotlib", "report", "drawing the report") from error

ROWS = 3  # action dimensions in the panels of executed actions: more do not fit a screen
Place = tuple[str, int, tuple[int, int]]
"""Method, delay [steps], training seed and episode seed."""


@dataclass(frozen=True, eq=False)
class Executed:
    """What one episode executed.

    Attributes:
        commands: Shape (steps, action), robot units, angles without a jump.
        seams: First steps of chunks.
        worst: The seam with the largest jump; None without one.
    """

    commands: Array
    seams: Sequence[int]
    worst: int | None

    def jump(self, scale: Array) -> float:
        """`seam_jump` of the worst seam in units of ``scale``, shape (action,); 0 without one."""
        return 0.0 if self.worst is None else float(np.nan_to_num(seam_jump(self.commands, self.worst, scale)))

    def steps(self, scale: Array) -> Array:
        """Size of the step across the worst seam per action dimension, normalised. Shape (action,)."""
        across = np.zeros((1, len(scale))) if self.worst is None else self.commands[self.worst - 1 : self.worst + 1]
        return np.abs(normalised(np.ptp(across, axis=0), scale))

    def path(self, scale: Array, task: TaskFacts) -> Array:
        """The path that the commands describe, as `metrics.commanded_path` has it. Shape (steps, motion)."""
        actions = normalised(task.kinds.continuous(self.commands), scale)
        return task.kinds.added_up(actions, task.dt)[:, task.kinds.motion(actions.shape[1])]


def recorded(results: Results) -> dict[Place, Executed]:
    """The episodes of a results file's traces that are long enough to have a jerk."""
    kinds = results.task.kinds
    return {
        (each.method, each.delay, (each.training_seed, each.seed)): Executed(
            kinds.continuous(np.asarray(each.commands, np.float64)),
            each.seams,
            each.worst_seam or None,  # 0 is no seam: the first chunk takes over from nothing
        )
        for each in results.traces or ()
        if len(each.commands) >= 4
    }


def panels(
    episodes: Mapping[str, Executed], size: Array, *, looks: Mapping[str, Look], names: Sequence[str], dt: float
) -> dict[str, Svg]:
    """The executed actions of each method's episode, on common axes, in the dimensions of the largest size.

    One row per action dimension, a line where a chunk took over, and a shade around the worst seam.
    """
    rows: list[int] = sorted(np.argsort(-size, kind="stable")[:ROWS].tolist())
    shown = {method: each.commands[:, rows] for method, each in episodes.items()}
    every = np.concatenate(list(shown.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    margin, height = 0.06 * np.maximum(high - low, 1e-9), 0.7 + 0.95 * len(rows)
    margins = {"left": 0.1, "right": 0.99, "bottom": 0.45 / height, "top": 1 - 0.25 / height, "hspace": 0.35}
    drawn = {}
    for method, each in episodes.items():
        look, time = looks[method], dt * np.arange(len(each.commands))
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(4.6, height))
            grid = np.atleast_1d(np.asarray(figure.subplots(len(rows), 1, sharex=True, gridspec_kw=margins)))
            for place, axes in enumerate(grid):
                limits = (low - margin)[place], (high + margin)[place]
                axes.grid(visible=False)
                axes.vlines([dt * step for step in each.seams], *limits, color=RULE, linewidth=1)
                if each.worst is not None:
                    axes.axvspan(dt * (each.worst - 6), dt * (each.worst + 6), color=MUTED, alpha=0.16, linewidth=0)
                axes.plot(time, shown[method][:, place], color=look.colour, linewidth=1.2)
                axes.set_ylim(*limits)
                axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
                axes.set_title(names[rows[place]], fontsize=8.5, fontweight="normal", pad=2)
            grid[-1].set_xlabel("time [s]")
            description = f"Executed actions: {', '.join(names[row] for row in rows)}"
            drawn[method] = as_svg(figure, f"executed-{look.colour}-{look.marker}", description)
    return drawn


def close_ups(
    episodes: Mapping[str, Executed], scale: Array, *, looks: Mapping[str, Look], names: Sequence[str], y_label: str
) -> dict[str, Svg]:
    """The worst seam of each method's episode, in the dimension with the largest step there, 12 steps to each side.

    Hollow before the seam, filled from the new chunk's first action on; all of one height, so that jumps compare.
    """
    windows = {}
    for method, each in episodes.items():
        row, seam = int(np.argmax(each.steps(scale))), each.worst or 0
        step = np.arange(max(0, seam - 12), min(len(each.commands), seam + 13))
        windows[method] = names[row], step - seam, normalised(each.commands, scale)[step, row]
    span = max([1e-6, *(1.15 * float(np.ptp(line)) for _, _, line in windows.values())])
    drawn = {}
    for method, (title, step, line) in windows.items():
        look, before, joint = looks[method], step < 0, (step == -1) | (step == 0)
        with mpl.rc_context(STYLE):
            figure, axes = panel(3.3, 2.4)
            axes.axvline(-0.5, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
            axes.plot(step[joint], line[joint], color=INK, linewidth=2.2, solid_capstyle="round", zorder=1)
            axes.plot(step[before], line[before], "o-", color=look.colour, markerfacecolor="none", markersize=4)
            axes.plot(step[~before], line[~before], "o-", color=look.colour, markersize=4)
            middle = (float(line.min()) + float(line.max())) / 2
            axes.set(title=title, xlabel="steps from the seam", ylabel=y_label, xlim=(-13, 13))
            axes.set_ylim(middle - span / 2, middle + span / 2)
            drawn[method] = as_svg(figure, f"close-{look.colour}-{look.marker}", f"Worst seam: {title}")
    return drawn
