"""What episodes executed, in panels: their actions, the steps around their worst seams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.seams import seam_jump
from segue.core.smoothness import normalised
from segue.lab.report import figures
from segue.lab.report.figures import Array, Look, Svg
from segue.lab.results import Results, TaskFacts

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
    """The executed actions of each method's episode, on common axes, in the dimensions of the largest size."""
    rows: list[int] = sorted(np.argsort(-size, kind="stable")[:ROWS].tolist())
    shown = {method: each.commands[:, rows] for method, each in episodes.items()}
    limits, named = figures.shared_limits(list(shown.values())), [names[row] for row in rows]
    return {
        method: figures.executed(
            shown[method], each.seams, each.worst, look=looks[method], names=named, limits=limits, dt=dt
        )
        for method, each in episodes.items()
    }


def close_ups(
    episodes: Mapping[str, Executed], scale: Array, *, looks: Mapping[str, Look], names: Sequence[str], y_label: str
) -> dict[str, Svg]:
    """The worst seam of each method's episode, in the dimension with the largest step there; all of one height."""
    rows = {method: int(np.argmax(each.steps(scale))) for method, each in episodes.items()}
    windows = {
        method: figures.around(normalised(each.commands, scale)[:, rows[method]], each.worst or 0)
        for method, each in episodes.items()
    }
    span = max([1e-6, *(1.15 * float(np.ptp(window)) for _, window in windows.values())])
    return {
        method: figures.close_up(*window, look=looks[method], title=names[rows[method]], span=span, y_label=y_label)
        for method, window in windows.items()
    }
