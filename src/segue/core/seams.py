"""Measures of the seam where one chunk takes over from another.

    step               start            k = step            start + known
    old chunk    ... ----|------------------|- - - - - - - - - -|
    new chunk            |- - - - - - - - - |-----------------------------------|
                           committed (d)        free overlap
    executed     old  old  old  old  old  a[k-1] a[k]  new  new  new

Differences between actions are measured in units of the demonstrations' standard deviation, as root mean square over
the action dimensions. A measure that does not exist at a seam (no overlap, too close to an end of the episode) is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.smoothness import Array, Real, jerk, normalised, straddling

MODE_SWITCH = 0.5
"""Disagreement with the old plan that counts as another plan [standard deviations of the demonstrations]."""


@dataclass(frozen=True, eq=False)
class Seam:
    """Place at which one chunk took over from another.

    Attributes:
        step: First absolute step executed from the new chunk, also its index into the executed commands.
        start: Absolute step of the new chunk's position 0.
        old: Shape (known, action), robot units: the previous chunk from ``start`` on.
        new: Shape (horizon, action), robot units: the new chunk.
    """

    step: int
    start: int
    old: Real
    new: Real

    @property
    def delay(self) -> int:
        """d: the position of the new chunk that is executed first [steps]."""
        return self.step - self.start


def rms(difference: Real) -> float:
    """Return the root mean square over all axes; NaN of an empty array."""
    return float(np.sqrt(np.mean(np.square(difference)))) if difference.size else float("nan")


def overlap_rmse(seam: Seam, scale: Real, first: int, kinds: Dimensions = LINEAR) -> float:
    """Measure how far the new chunk is from the old plan where both speak [standard deviations].

        sqrt( mean over positions j in [first, known) and dimensions of ((new[j] - old[j]) / scale)^2 )

    Args:
        seam: The two chunks.
        scale: Shape (action,), standard deviation of the demonstrations' actions, robot units.
        first: 0 for the whole overlap; ``seam.delay`` for the free overlap, where the robot executes the new chunk.
        kinds: What each dimension is: an angle is off by the shorter way round.

    Returns:
        NaN when the chunks share no position from ``first`` on.
    """
    known = min(len(seam.old), len(seam.new))
    return rms(normalised(kinds.difference(seam.new[first:known], seam.old[first:known]), scale))


def mode_switch(seam: Seam, scale: Real, threshold: float = MODE_SWITCH, kinds: Dimensions = LINEAR) -> bool:
    """Tell whether the new chunk follows another plan than the old one.

    True when `overlap_rmse` over the free overlap exceeds ``threshold`` standard deviations of the demonstrations.
    The threshold is a convention: one plan sampled twice can pass it where the demonstrations themselves scatter,
    so that counts compare methods on one task, not tasks. False without a free overlap.
    """
    return overlap_rmse(seam, scale, seam.delay, kinds) > threshold


def seam_jump(commands: Real, step: int, scale: Real, kinds: Dimensions = LINEAR) -> float:
    """Measure the step across a seam, net of the step that was to be expected there [standard deviations].

        jump = a[k] - a[k-1] - ((a[k-1] - a[k-2]) + (a[k+1] - a[k])) / 2

    as root mean square over dimensions of ``jump / scale``. Expected is the average of the last step before the seam
    and the first step after it, so that a constant velocity or a constant acceleration through the seam gives 0 and
    an offset c between two parallel lines gives c. (It is minus one half of the third difference.)

    Args:
        commands: Shape (steps, action), the executed actions, robot units.
        step: k, the first step executed from the new chunk.
        scale: Shape (action,), robot units.
        kinds: What each dimension is.

    Returns:
        NaN unless two commands before and two commands from ``step`` on were executed.
    """
    if step < 2 or step + 2 > len(commands):
        return float("nan")
    a = normalised(kinds.continuous(commands[step - 2 : step + 2]), scale)
    return rms(a[2] - a[1] - ((a[1] - a[0]) + (a[3] - a[2])) / 2)


def velocity_jump(path: Real, step: int, dt: float) -> float:
    """Measure the change of velocity from before to after a seam [unit of the path / s].

        ((p[k+1] - p[k]) - (p[k-1] - p[k-2])) / dt,  root mean square over dimensions

    One-sided differences: the step across the seam itself belongs to `seam_jump`, so that an offset between parallel
    lines gives 0 here and a kink gives its change of slope. NaN unless two points lie on each side.

    ``path`` has shape (steps, dimension) and normalised units.
    """
    if step < 2 or step + 2 > len(path):
        return float("nan")
    before, after = np.diff(path[step - 2 : step], axis=0), np.diff(path[step : step + 2], axis=0)
    return rms(after - before) / dt


def acceleration_jump(path: Real, step: int, dt: float) -> float:
    """Measure the change of acceleration from before to after a seam [unit of the path / s^2].

        ((p[k+2] - 2 p[k+1] + p[k]) - (p[k-1] - 2 p[k-2] + p[k-3])) / dt^2,  root mean square over dimensions

    One-sided, as `velocity_jump`: offsets and kinks give 0. NaN unless three points lie on each side.
    """
    if step < 3 or step + 3 > len(path):
        return float("nan")
    before, after = np.diff(path[step - 3 : step], n=2, axis=0), np.diff(path[step : step + 3], n=2, axis=0)
    return rms(after - before) / dt**2


def seam_ratio(path: Real, steps: Sequence[int]) -> float:
    """Divide the jerk at the seams by that inside chunks: 1 when a seam is a step like any other.

    Median norm of the third differences of a path (steps, dimension) that straddle a seam, before one of ``steps``, the
    first executed from each new chunk, over the median of those that do not. NaN without a seam, without interior
    (chunks of three steps or fewer are all seam) or when the interior has no jerk at all.
    """
    magnitude: Array = jerk(path)
    at_seam = straddling(len(magnitude), steps)
    if at_seam.all() or not at_seam.any():
        return float("nan")
    interior = float(np.median(magnitude[~at_seam]))
    return float(np.median(magnitude[at_seam])) / interior if interior > 0 else float("nan")
