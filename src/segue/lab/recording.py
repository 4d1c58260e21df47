"""How smooth recorded episodes are, whoever drove the robot: measures that need no policy and no simulator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.metrics import HESITATION, mean_of_defined, spread
from segue.core.seams import seam_jump, seam_ratio
from segue.core.smoothness import Array, Real, jerk, nldlj, normalised, nsparc, speed, still
from segue.data.episodes import Episodes
from segue.lab.scales import action_scale
from segue.lab.statistics import Interval, Sample, mean_interval


@dataclass(frozen=True)
class Measured:
    """One measure over all episodes of a recording.

    Attributes:
        label: For people.
        unit: "std" is the standard deviation of the recorded actions, "state" that of the observed state.
        interval: Mean over episodes, with its interval.
    """

    label: str
    unit: str
    interval: Interval


def recording_metrics(episodes: Episodes, every: int | None = None, first: int = 0) -> list[Measured]:
    """Smoothness of commands and of the state that measures them.

    Actions are taken as target positions. Dimensions that stand still (`segue.core.smoothness.still`) are left out:
    they have noise and no motion, and noise is all that a third difference would see of a smooth recording. The state's
    measures use the dimensions that the actions are named after
    (`Episodes.state_of_action`); without any they are left out.

    Args:
        episodes: The recording.
        every: Steps executed from each chunk, where that is known and constant: adds the measures at seams.
        first: Step of the first seam in each episode, after that of step 0.
    """
    moves, dt = _moving(episodes.action, episodes.action_kinds, episodes), episodes.dt
    scale = action_scale(episodes)
    paths = _paths(episodes.action, scale, episodes.action_kinds, moves, episodes)
    speeds = [speed(path, dt) for path in paths]
    cruise = float(np.median(np.concatenate(speeds))) if speeds else float("nan")
    found = [
        _measured("NSPARC of the commands", "", [nsparc(each, dt) for each in speeds]),
        _measured("NLDLJ of the commands", "", [nldlj(each, dt) for each in speeds]),
        _measured("Commanded jerk per step", "std/step^3", [mean_of_defined(jerk(path)) for path in paths]),
        _measured("Commanded jerk", "std/s^3", [mean_of_defined(jerk(path, dt)) for path in paths]),
        _measured("Hesitation of the commands", "", [_share(each < HESITATION * cruise) for each in speeds]),
    ]
    if every is not None:
        found += _seam_measures(paths, episodes, moves, every, first)
    columns = [index for index in episodes.state_of_action if index is not None]
    if columns:
        kinds, seen = episodes.observation_kinds, episodes.observation
        observed = _continuous(seen, kinds, episodes)[:, columns]
        scale_of_states = spread(seen, kinds)[columns] if kinds.kinds else np.std(observed, axis=0)
        states = _paths(observed, scale_of_states, LINEAR, _moving(seen, kinds, episodes, columns), episodes)
        found += [
            _measured("NSPARC of the state", "", [nsparc(speed(path, dt), dt) for path in states]),
            _measured("NLDLJ of the state", "", [nldlj(speed(path, dt), dt) for path in states]),
            _measured("Measured jerk", "state/s^3", [mean_of_defined(jerk(path, dt)) for path in states]),
        ]
    return found


def _moving(
    values: Real, kinds: Dimensions, episodes: Episodes, columns: Sequence[int] | slice = slice(None)
) -> NDArray[np.bool_]:
    """Dimensions, of those named, that do not stand still beside the others. Shape (columns,)."""
    return ~still(kinds.about_mean(values)[:, columns], episodes.ends)


def standing(episodes: Episodes) -> list[str]:
    """Names of the action dimensions that are left out, as they stand still."""
    moves = _moving(episodes.action, episodes.action_kinds, episodes)
    return [name for name, counts in zip(episodes.action_names, moves, strict=True) if not counts]


def _paths(values: Real, scale: Real, kinds: Dimensions, moves: NDArray[np.bool_], episodes: Episodes) -> list[Array]:
    """The path of each episode in the dimensions that move, normalised; angles go on without a jump."""
    return [normalised(kinds.continuous(each), scale)[:, moves] for each in np.split(values, episodes.ends[:-1])]


def _continuous(values: Real, kinds: Dimensions, episodes: Episodes) -> Real:
    """The same, with angles and signs of quaternions that go on without a jump in each episode."""
    return np.concatenate([kinds.continuous(each) for each in np.split(values, episodes.ends[:-1])])


def _seam_measures(
    paths: Sequence[Array], episodes: Episodes, moves: NDArray[np.bool_], every: int, first: int
) -> list[Measured]:
    scale = action_scale(episodes)[moves]
    actions = _continuous(episodes.action, episodes.action_kinds, episodes)
    commands = np.split(actions[:, moves], episodes.ends[:-1])
    steps = [list(range(first or every, len(each), every)) for each in commands]
    jumps = [
        mean_of_defined(np.array([seam_jump(each, step, scale) for step in seams]))
        for each, seams in zip(commands, steps, strict=True)
    ]
    ratios = [seam_ratio(path, seams) for path, seams in zip(paths, steps, strict=True)]
    return [_measured("Seam jump", "std", jumps), _measured("Seam ratio", "", ratios)]


def roughest(episodes: Episodes, count: int = 3) -> list[tuple[str, float]]:
    """The action dimensions with the largest share of the squared commanded jerk, and that share."""
    moves = _moving(episodes.action, episodes.action_kinds, episodes)
    names = [name for name, counts in zip(episodes.action_names, moves, strict=True) if counts]
    pieces = _paths(episodes.action, action_scale(episodes), episodes.action_kinds, moves, episodes)
    power = np.sum([np.sum(np.diff(piece, n=3, axis=0) ** 2, axis=0) for piece in pieces], axis=0)
    if not power.sum() > 0:
        return []
    order = np.argsort(power)[::-1][:count]
    return [(names[i], float(power[i] / power.sum())) for i in order]


def _measured(label: str, unit: str, values: Sequence[float]) -> Measured:
    table = np.asarray(values, np.float64)
    indices = np.arange(len(table))
    return Measured(label, unit, mean_interval(Sample(table, np.zeros_like(indices), indices)))


def _share(mask: NDArray[np.bool_]) -> float:
    return float(np.mean(mask)) if mask.size else float("nan")
