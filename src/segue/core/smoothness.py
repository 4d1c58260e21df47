"""How smooth a motion is: a path, its speed, its jerk and its spectrum.

    path    p    (steps, dimension)       one point per control step, every ``dt`` seconds
    speed   v    (steps - 1,)             v[i] between the points i and i + 1
    jerk    j    (steps - 3,)             j[i] from the points i .. i + 3

The units of a path are its caller's. A measure that does not exist for a motion (too short, at rest) is NaN.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = NDArray[np.floating]

CUTOFF = 10.0
"""Highest frequency that spectral arc length looks at [Hz]."""
AMPLITUDE = 0.05
"""Smallest normalised magnitude that ends the band of spectral arc length."""
NEVER_MOVES = 1e-6
"""A standard deviation of the demonstrations below this is rounding, not motion [robot units]."""
SMALL = 5e-3
"""Share of the largest standard deviation below which a dimension that is noise stands still: a joint at rest that
flips between two ticks of a 12-bit encoder has 1e-3 of what the joints beside it have."""
UNRESOLVED = 1e-4
"""Share below which it stands still in any case: less than what robots measure of their own motion."""
NOISY, DRIFTING = 0.5, 5e-3
"""A dimension is noise from this size of its steps on, over that of steps without any memory; and from the smaller one
on if four steps lead hardly farther than one, as where noise lies on a drift."""
HARDLY = 1.5


def still(path: Real, ends: Sequence[int] | NDArray[np.integer]) -> NDArray[np.bool_]:
    """Find the dimensions that stand still beside the others. Shape (dimension,).

    With the standard deviation ``s`` of a dimension, the largest one ``s_max``, and its steps inside of episodes:

        still  <=>  s < 1e-4 s_max,  or  s < 5e-3 s_max  and  restless
        restless  <=>  rms(step) > 0.5 sqrt(2) s,  or  rms(step) > 5e-3 sqrt(2) s  and  rms(4 steps) < 1.5 rms(step)

    Steps of pure noise have ``rms(step) = sqrt(2) s``, and four lead as far as one; those of a motion that is resolved
    are far smaller, and four lead four times as far. A small
    motion is thus no standstill, whatever its unit, if it is smooth; nor is noise, if it is as large as what moves.

    Args:
        path: Shape (frames, dimension), episodes one after the other.
        ends: Exclusive end frame of each episode.
    """
    path = np.asarray(path, np.float64)
    spread = np.std(path, axis=0)
    episode = np.searchsorted(np.asarray(ends, np.int64), np.arange(len(path)), side="right")
    one, four = (_step(path, episode, steps) for steps in (1, 4))
    largest, share = spread.max(initial=0.0), one / np.sqrt(2)
    restless = (share > NOISY * spread) | ((share > DRIFTING * spread) & (four < HARDLY * one))
    return (largest > 0) & ((spread < UNRESOLVED * largest) | ((spread < SMALL * largest) & restless))


def _step(path: Array, episode: NDArray[np.int64], steps: int) -> Array:
    """Return the root mean square of differences over some steps, inside of episodes. Shape (dimension,), or NaN."""
    inside = (path[steps:] - path[:-steps])[episode[steps:] == episode[:-steps]]
    return np.sqrt(np.mean(inside**2, axis=0)) if len(inside) else np.full(path.shape[1], np.nan)


def scale_of_motion(path: Real, ends: Sequence[int] | NDArray[np.integer]) -> Array:
    """Return the unit of each dimension, shape (dimension,): its standard deviation unless it stands still (`still`).

    Noise is no unit. What stands still has ``5e-3 s_max``, so that it counts where something else, such as a policy,
    moves it, and does not decide where nothing does.
    """
    spread = np.std(path, axis=0, dtype=np.float64)
    return np.where(still(path, ends), SMALL * spread.max(initial=0.0), spread)


def normalised(actions: Real, scale: Real) -> Array:
    """Divide actions, dimensions last, by the demonstrations' standard deviation.

    The unit is that of `scale_of_motion`. Where nothing moves at all, actions keep their robot units.
    """
    scale = np.asarray(scale, np.float64)
    return np.asarray(actions, np.float64) / np.where(scale > NEVER_MOVES, scale, 1.0)


def speed(path: Real, dt: float) -> Array:
    """Return the norm of the first difference [unit of the path / s]. Shape (steps - 1,), empty below two points."""
    return np.linalg.norm(np.diff(np.asarray(path, np.float64), axis=0), axis=1) / dt


def jerk(path: Real, dt: float = 1.0) -> Array:
    """Return the norm of the third difference of a path (steps, dimension), per s^3, or per step^3 where dt is 1.

    Shape (steps - 3,), empty below four points.
    """
    return np.linalg.norm(np.diff(np.asarray(path, np.float64), n=3, axis=0), axis=1) / dt**3


def sparc(speed: Real, dt: float) -> float:
    """Return the spectral arc length of a speed profile (Balasubramanian et al. 2015), below 0, higher is smoother.

    The magnitude spectrum of the profile, zero-padded to ``2^(ceil(log2 n) + 4)`` samples and divided by its maximum,
    is kept up to 10 Hz (or to half the control rate, if that is lower) and cut to the band between the first and the
    last frequency with a magnitude of at least 0.05. Over the n bins of that band

        SPARC = - sum sqrt((df / (f_last - f_first))^2 + dM^2)

    It does not depend on the amplitude of the motion, nor on its duration while the band stays below 10 Hz. NaN with
    fewer than four samples, shape (samples,), or without motion.
    """
    profile = np.asarray(speed, np.float64)
    if len(profile) < 4 or not np.max(np.abs(profile)) > 0:
        return float("nan")
    samples = 2 ** (int(np.ceil(np.log2(len(profile)))) + 4)
    frequency = np.fft.rfftfreq(samples, dt)
    magnitude = np.abs(np.fft.rfft(profile, samples))
    magnitude /= magnitude.max()
    audible = np.flatnonzero((frequency <= CUTOFF) & (magnitude >= AMPLITUDE))
    if len(audible) < 2:
        return float("nan")
    band = slice(audible[0], audible[-1] + 1)
    width = frequency[band][-1] - frequency[band][0]
    return -float(np.sum(np.hypot(np.diff(frequency[band]) / width, np.diff(magnitude[band]))))


def nsparc(speed: Real, dt: float) -> float:
    """Negate `sparc`: lower is smoother (arXiv 2602.12978), about 1.406 for a minimum-jerk reach."""
    return -sparc(speed, dt)


def straddling(samples: int, steps: Sequence[int]) -> NDArray[np.bool_]:
    """Mark the third differences of a path, three fewer than points, that use points on both sides of a joint.

    A joint at step k lies between the points k - 1 and k; the differences k - 3, k - 2 and k - 1 straddle it.
    """
    mask = np.zeros(samples, bool)
    for k in steps:
        mask[max(k - 3, 0) : max(k, 0)] = True
    return mask


def nldlj(speed: Real, dt: float, leave_out: Sequence[int] = ()) -> float:
    """Return the negated log dimensionless jerk: lower is smoother (Balasubramanian et al. 2015; arXiv 2602.12978).

        NLDLJ = ln( T^3 / v_peak^2 * integral |d^2 v / dt^2|^2 dt ),  T = samples * dt

    It depends neither on the amplitude of the motion nor on its time scale; ``ln 204.8 = 5.32`` for a minimum-jerk
    reach. The integral is T times the mean over the second differences of the speed that are counted, so that
    leaving some out does not make a motion look smoother merely by shortening it.

    Args:
        speed: Shape (samples,), ``speed[i]`` between the path's points i and i + 1.
        dt: Control period [s].
        leave_out: First steps of chunks. Jerk samples that straddle such a joint are dropped, which leaves the
            smoothness inside chunks and hides what happens between them (the Legato paper is said to report this
            form: read it together with the full one).

    Returns:
        NaN with fewer than three samples, without motion, at constant speed (ln 0), or when nothing is left.
    """
    profile = np.asarray(speed, np.float64)
    change = np.diff(profile, n=2) / dt**2
    change = change[~straddling(len(change), leave_out)]
    if len(change) == 0 or not np.any(change):
        return float("nan")
    duration = len(profile) * dt
    return float(np.log(duration**4 / np.max(np.abs(profile)) ** 2 * np.mean(change**2)))


def power_spectrum(path: Real, dt: float) -> tuple[Array, Array]:
    """Power spectral density of a path's velocity, summed over its dimensions.

    One-sided periodogram of the first difference, mean removed, periodic Hann window. The velocity rather than the
    path: a path wanders, and its spectrum shows little but that.

    Args:
        path: Shape (steps, dimension).
        dt: Control period [s].

    Returns:
        Frequencies [Hz] and densities [(unit of the path / s)^2 / Hz], each of shape (bins,). The sum of the densities
        times the spacing of the frequencies is the velocity's mean square about its mean. Empty below three points.
    """
    velocity = np.diff(np.asarray(path, np.float64), axis=0) / dt
    n = len(velocity)
    if n < 2:
        return np.zeros(0), np.zeros(0)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(n) / n))
    spectrum = np.fft.rfft((velocity - velocity.mean(axis=0)) * window[:, None], axis=0)
    density = np.sum(np.abs(spectrum) ** 2, axis=1) * 2 * dt / np.sum(window**2)
    density[0] /= 2
    if n % 2 == 0:
        density[-1] /= 2
    return np.fft.rfftfreq(n, dt).astype(np.float64), density.astype(np.float64)
