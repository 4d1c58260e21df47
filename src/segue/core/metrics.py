"""The measures of one episode.

Smoothness is computed on what was executed, after clipping, in units of the demonstrations' standard deviation; a
dimension that stands still in them has a floor for one, see `scale_of_motion`.
Commands become a path first: a target position is a point of it, an angle the nearest one to the point before, and
displacements are summed up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.robot import Outcome, RobotSpec
from segue.core.seams import (
    Seam,
    acceleration_jump,
    mode_switch,
    overlap_rmse,
    seam_jump,
    seam_ratio,
    velocity_jump,
)
from segue.core.smoothness import NEVER_MOVES, Array, Real, jerk, nldlj, normalised, nsparc, speed
from segue.errors import SpecError

HESITATION = 0.1
"""Fraction of the cruise speed below which the robot hesitates."""


@dataclass(frozen=True)
class Metric:
    """Describes a measure.

    Attributes:
        name: Key in results.
        label: For people.
        unit: Empty for none; "std" is the standard deviation of the demonstrations' actions (`scale_of_motion`), for a
            prediction of their observations.
        better: Direction of improvement; "none" for a quantity that is only reported.
        formula: One line.
        source: Paper, "the task", or "Segue" for our own.
        meaning: What it says, in plain words.
    """

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower", "none"]
    formula: str
    source: str
    meaning: str


_SMOOTH = "Balasubramanian et al. 2015; arXiv 2602.12978"
_LEGATO = "arXiv 2602.12978"
_OURS = "Segue"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("success", "Success", "", "higher", "1 when the task was solved, else 0", "the task",
               "share of the episodes in which the task was solved"),
        Metric("score", "Score", "", "higher", "graded progress in [0, 1]", "the task",
               "how far the task got, from 0 to 1"),
        Metric("completion_time", "Completion time", "s", "lower", "dt * steps to success, or max_steps", _LEGATO,
               "time until the task was solved, or all there was"),
        Metric("nsparc", "NSPARC", "", "lower", "arc length of the spectrum of the commanded speed", _SMOOTH,
               "how often the commanded speed swells and ebbs: 1.4 in one smooth reach"),
        Metric("nldlj", "NLDLJ", "", "lower", "ln(T^3 / v_peak^2 * integral |d2v/dt2|^2 dt), v commanded", _SMOOTH,
               "how shaken the commanded speed is, at any size and pace, as a logarithm: 5.3 in one smooth reach"),
        Metric("nldlj_interior", "NLDLJ inside chunks", "", "lower", "the same without samples across seams", _LEGATO,
               "the same inside of chunks: what seams have no part in"),
        Metric("overlap_rmse", "Overlap RMSE", "std", "lower", "rms(new - old) where both speak", _LEGATO,
               "how far a new chunk is from what the old one had planned"),
        Metric("overlap_rmse_free", "Free overlap RMSE", "std", "lower", "rms(new - old) from position d on", _LEGATO,
               "the same after the delay, where the new chunk is free to differ"),
        Metric("seam_jump", "Seam jump", "std", "lower", "rms(step at seam - mean of steps around it)", _OURS,
               "how far the step into a new chunk is off the steps around it"),
        Metric("seam_velocity_jump", "Seam velocity jump", "std/s", "lower", "rms(v after - v before)", _OURS,
               "change of velocity where a new chunk takes over"),
        Metric("seam_acceleration_jump", "Seam acceleration jump", "std/s^2", "lower", "rms(a after - before)", _OURS,
               "change of acceleration where a new chunk takes over"),
        Metric("seam_ratio", "Seam ratio", "", "lower", "median |third difference|, at seams / inside chunks", _OURS,
               "jerk at seams over jerk inside of chunks: 1 where a seam cannot be told from the rest"),
        Metric("jerk_command_step", "Jerk per step", "std/step^3", "lower", "mean |third difference of path|", _OURS,
               "how abruptly the commanded acceleration changes, per control step"),
        Metric("jerk_command", "Commanded jerk", "std/s^3", "lower", "mean |third difference of path| / dt^3", _OURS,
               "how abruptly the commanded acceleration changes, per second"),
        Metric("jerk_measured", "Measured jerk", "pose/s^3", "lower", "mean |third difference of pose| / dt^3", _OURS,
               "how abruptly the acceleration of the robot itself changes"),
        Metric("mode_switches", "Mode switches", "", "lower", "seams with a free overlap RMSE above 0.5 std", _OURS,
               "how often in an episode a new chunk has another plan than the old one"),
        Metric("hesitation", "Hesitation", "", "lower", "share of steps slower than 10 % of cruise speed", _OURS,
               "share of the time in which the robot hardly moves"),
        Metric("stall_time", "Stalls", "s", "lower", "dt * steps slower than 10 % of cruise speed", _OURS,
               "time in which the robot hardly moves"),
        Metric("prediction_error", "Prediction error", "std", "lower", "mean |predicted - seen at takeover|", _OURS,
               "how far what was predicted is from what was seen at the takeover"),
        Metric("surprising", "Surprising", "", "none", "share of checked predictions that the guard doubts", _OURS,
               "how often the robot was farther from its prediction than usual"),
        Metric("inference_calls", "Inference calls", "", "none", "chunks asked for", _OURS,
               "chunks asked for in an episode"),
        Metric("inference_time", "Time per inference in a batch", "s", "none", "seconds of inference / calls", _OURS,
               "time of computing per chunk, where several are computed together"),
    )
}  # fmt: skip
"""Every measure of an episode, in the order of reports."""


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """Record of one episode.

    Attributes:
        spec: The robot.
        scale: Shape (action,), standard deviation of the demonstrations' actions, robot units.
        commands: Shape (steps, action), what was executed, after clipping, robot units.
        measured: Shape (steps + 1, pose), the pose before the first command and after each.
        seams: Where chunks took over.
        outcome: How it ended.
        completion_step: Commands executed when success first held (an index into ``measured``), or None.
        cruise_speed: Median measured speed of the demonstrations [pose unit / s].
        max_steps: Steps that the episode was allowed.
        inference_calls: Chunks asked for.
        inference_seconds: Time that all calls took together [s].
        prediction_errors: Shape (predictions,), one per chunk, see `prediction_error`.
        surprises: Shape (requests,), see `segue.core.chunk.Predicting`.
    """

    spec: RobotSpec
    scale: Real
    commands: Real
    measured: Real
    seams: tuple[Seam, ...]
    outcome: Outcome
    completion_step: int | None
    cruise_speed: float
    max_steps: int
    inference_calls: int
    inference_seconds: float
    prediction_errors: Array = field(default_factory=lambda: np.zeros(0))
    surprises: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if len(self.measured) != len(self.commands) + 1:
            raise SpecError(
                got=f"{len(self.measured)} poses for {len(self.commands)} commands",
                expected="one pose before the first command and one after each",
                change="call pose() after reset() and after every send() or hold()",
            )
        if self.outcome.success and self.completion_step is None:
            raise SpecError(
                got="success without a completion step",
                expected="the number of commands executed when success first held",
                change="note the step at which outcome().success turns true",
            )


def episode_metrics(record: EpisodeRecord) -> dict[str, float]:
    """Compute every measure of `METRICS` for one episode, in their order; NaN where one is undefined.

    Measures of seams are means over the seams at which they are defined, except ``mode_switches``, a count (NaN when
    no seam has a free overlap). Those of predictions are NaN where nothing was predicted, or nothing was checked.
    """
    dt, outcome = record.spec.dt, record.outcome
    calls, done = record.inference_calls, record.completion_step
    path = commanded_path(record.commands, record.scale, record.spec)
    measured = record.spec.pose_kinds.continuous(record.measured)
    until_done = measured[: None if done is None else done + 1]
    hesitating = hesitation(until_done, dt, record.cruise_speed)
    values = {
        "success": float(outcome.success),
        "score": float(outcome.score),
        "completion_time": (done if outcome.success and done is not None else record.max_steps) * dt,
        **path_metrics(path, dt),
        "nldlj_interior": nldlj(speed(path, dt), dt, [seam.step for seam in record.seams]),
        **_seam_metrics(record, path),
        "jerk_measured": mean_of_defined(jerk(measured, dt)),
        "hesitation": hesitating,
        "stall_time": hesitating * dt * (len(until_done) - 1),
        "prediction_error": mean_of_defined(record.prediction_errors),
        "surprising": mean_of_defined(np.where(np.isnan(record.surprises), np.nan, record.surprises > 1)),
        "inference_calls": float(calls),
        "inference_time": record.inference_seconds / calls if calls else float("nan"),
    }
    return {name: values[name] for name in METRICS}


def path_metrics(path: Array, dt: float) -> dict[str, float]:
    """Compute the measures of a commanded path, which episodes and demonstrations share."""
    profile = speed(path, dt)
    return {
        "nsparc": nsparc(profile, dt),
        "nldlj": nldlj(profile, dt),
        "jerk_command_step": mean_of_defined(jerk(path)),
        "jerk_command": mean_of_defined(jerk(path, dt)),
    }


def _seam_metrics(record: EpisodeRecord, path: Array) -> dict[str, float]:
    """Compute the measures at seams. ``path`` is the commanded path, one point per command."""
    seams, scale, dt, kinds = record.seams, record.scale, record.spec.dt, record.spec.kinds

    def mean(measure: Callable[[Seam], float]) -> float:
        return mean_of_defined([measure(seam) for seam in seams])

    free = [seam for seam in seams if len(seam.old) > seam.delay]
    return {
        "overlap_rmse": mean(lambda seam: overlap_rmse(seam, scale, 0, kinds)),
        "overlap_rmse_free": mean(lambda seam: overlap_rmse(seam, scale, seam.delay, kinds)),
        "seam_jump": mean(lambda seam: seam_jump(record.commands, seam.step, scale, kinds)),
        "seam_velocity_jump": mean(lambda seam: velocity_jump(path, seam.step, dt)),
        "seam_acceleration_jump": mean(lambda seam: acceleration_jump(path, seam.step, dt)),
        "seam_ratio": seam_ratio(path, [seam.step for seam in seams]),
        "mode_switches": float(sum(mode_switch(seam, scale, kinds=kinds) for seam in free)) if free else float("nan"),
    }


def mean_of_defined(values: Real | list[float]) -> float:
    """Average the values that are not NaN; NaN when all are."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    return float(array.mean()) if array.size else float("nan")


def commanded_path(commands: Real, scale: Real, spec: RobotSpec) -> Array:
    """Compute the path of commands, one point per command. Shape (steps, motion), normalised units."""
    actions = normalised(spec.kinds.continuous(commands), scale)
    return spec.kinds.added_up(actions, spec.dt)[:, spec.motion]


def hesitation(measured: Real, dt: float, cruise_speed: float) -> float:
    """Return the share of control steps whose measured speed is below 10 % of the cruise speed [pose unit / s].

    ``measured`` has shape (steps + 1, pose), up to completion, and angles without a jump. NaN without a cruise speed
    above 0 or without a step.
    """
    if not cruise_speed > 0 or len(measured) < 2:
        return float("nan")
    return float(np.mean(speed(measured, dt) < HESITATION * cruise_speed))


def spread(values: Real, kinds: Dimensions) -> Array:
    """Return the standard deviation per dimension, of angles about their mean on the circle. (frames, dimension)."""
    return np.std(kinds.about_mean(values), axis=0, dtype=np.float64)


def prediction_error(predicted: Real, observed: Real, scale: Real, kinds: Dimensions = LINEAR) -> float:
    """Average the distance between two states over dimensions, in standard deviations of the demonstrations, ``scale``.

    All have shape (observation,); an angle is off by the shorter way round. Dimensions that never move in the
    demonstrations have no such unit and are left out; NaN when none moves.
    """
    scale = np.asarray(scale, np.float64)
    moves = scale > NEVER_MOVES
    distance = np.abs(kinds.difference(np.asarray(predicted, np.float64), np.asarray(observed, np.float64)))
    return float(np.mean(distance[moves] / scale[moves])) if moves.any() else float("nan")
