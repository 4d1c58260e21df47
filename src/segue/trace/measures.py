"""The measures of an evaluation of a run that was recorded: one episode per epoch of its trace.

Some of them follow from the ticks alone. A chunk starts where its first executed action puts it
(``step - index``), and the delay of an answer is the number of actions executed from its request to its arrival,
whatever the clock said meanwhile.

The header's ``robot`` names the units; without the demonstrations' spread among them, measures are in units of the
run's own commands.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import Dimensions
from segue.core.metrics import EpisodeRecord
from segue.core.robot import Outcome, RobotSpec
from segue.core.seams import Seam
from segue.core.smoothness import NEVER_MOVES, Array, Real, scale_of_motion
from segue.errors import DataError, SpecError
from segue.plan.plan import Delivery, Event
from segue.trace.file import Trace
from segue.trace.records import DELIVERIES, EVENTS

OF_THE_TASK = ("success", "score", "completion_time")
"""Measures that only a simulator can say."""
_LIMITS = ("action_low", "action_high")
TAKEN, SWITCHED = DELIVERIES.index(Delivery.TAKEN), EVENTS.index(Event.SWITCHED)


def robot_header(spec: RobotSpec, scale: Real | None = None, cruise_speed: float | None = None) -> dict[str, Any]:
    """Describe a robot for a trace header's ``robot``.

    Args:
        spec: The robot.
        scale: Shape (action,): standard deviation of the demonstrations' actions, robot units; None: not known.
        cruise_speed: Median measured speed of the demonstrations [pose unit / s]; None: not known.
    """
    said = {name: value.words if isinstance(value, Dimensions) else value for name, value in vars(spec).items()}
    said |= {name: np.asarray(said[name], float).tolist() for name in _LIMITS}
    del said["cameras"]  # a trace has no pictures
    return said | {
        "scale": None if scale is None else np.asarray(scale, float).tolist(),
        "cruise_speed": None if cruise_speed is None or not np.isfinite(cruise_speed) else float(cruise_speed),
    }


def robot_spec(trace: Trace) -> RobotSpec:
    """Read the robot of a trace, at the rate of the run: measures per second are those of the time that has passed.

    Raises:
        DataError: The header does not say.
    """
    robot = trace.header.get("robot")
    actions = trace.ticks["action"].shape[1]
    try:
        assert isinstance(robot, Mapping)
        limits = np.array([robot[name] for name in _LIMITS], float)
        if not np.all(np.abs(limits) <= np.finfo(np.float32).max):  # also refuses NaN
            raise ValueError("limits that are no finite numbers of 32 bits")
        said: dict[str, Any] = dict(zip(_LIMITS, limits.astype(np.float32), strict=True))
        for each in ("observation", "action", "pose"):
            said[f"{each}_names"] = tuple(map(str, robot[f"{each}_names"]))
            said[f"{each}_kinds"] = Dimensions.of(*robot.get(f"{each}_kinds", ()))
        dt = 1 / float(trace.header["rate"]) if "rate" in trace.header else float(robot["dt"])
        spec = RobotSpec(str(robot["name"]), dt, command=robot["command"], **said)
        if len(spec.action_names) != actions:
            raise ValueError(f"{len(spec.action_names)} names for {actions} actions")
        if robot.get("scale") is not None and np.asarray(robot["scale"], float).shape != spec.action_low.shape:
            raise ValueError("a scale of another shape than the actions")
        float(robot.get("cruise_speed") or 0)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError, SpecError) as error:
        raise DataError(
            got=f"a trace whose header says of its robot: {robot!r:.200} ({error})",
            expected="names, limits and period, as `segue run` writes them",
            change="put `robot_header(spec)` into the header as 'robot'",
        ) from error
    return spec


def latencies(trace: Trace) -> Array:
    """Return the seconds from asking to the answer, without the first inference, which warms up. Shape (answers,)."""
    answered = trace.chunks[trace.chunks["outcome"] != DELIVERIES.index(None)]
    return answered["seconds"][answered["number"] > 1].astype(np.float64)


def delays(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the actions executed between request and arrival of chunks, and return their planned delays, too [steps].

    That is, of chunks that were asked for while one was executed, and were taken or came too late; not of those that
    were refused, given up or from before a reset. Two arrays of shape (chunks,).
    """
    # A chunk that came in parts took over at its first one
    first = {int(part["number"]): int(part["arrived"]) for part in trace.parts[::-1]}
    executed, planned = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for ticks, chunks in epochs(trace):
        steps = np.sort(ticks["step"][ticks["index"] >= 0])
        arrived = chunks[np.isin(chunks["outcome"], (TAKEN, DELIVERIES.index(Delivery.EXPIRED)))]
        before = np.searchsorted(steps, arrived["requested"])
        came = [first.get(int(chunk["number"]), int(chunk["arrived"])) for chunk in arrived]
        executed.append((np.searchsorted(steps, came) - before)[before > 0])
        planned.append(arrived["planned"][before > 0].astype(np.int64))
    return np.concatenate(executed), np.concatenate(planned)


def epochs(trace: Trace) -> Iterator[tuple[NDArray[np.void], NDArray[np.void]]]:
    """Yield ticks and chunks of each episode that executed at least one action."""
    for epoch in np.unique(trace.ticks["epoch"]):
        ticks = trace.ticks[trace.ticks["epoch"] == epoch]
        if np.any(ticks["index"] >= 0):
            yield ticks, trace.chunks[trace.chunks["epoch"] == epoch]


def commands_of(ticks: NDArray[np.void], spec: RobotSpec) -> Array:
    """Return what was executed in every tick. Shape (ticks, action), robot units.

    A tick in which nothing was sent holds: position targets stay, displacements are none, a gripper stays as
    commanded. Before the first action of a chunk it counts as that command, as in `segue.lab.rollout`: how far
    a robot at rest is from its first action says nothing about a seam.
    """
    sent = ticks["action"].astype(np.float64)
    known = np.all(np.isfinite(sent), axis=1) & np.logical_or.accumulate(ticks["index"] >= 0)
    if not known.any():
        return np.zeros_like(sent)
    last = np.maximum.accumulate(np.where(known, np.arange(len(sent)), known.argmax()))
    held = sent[last]
    return np.where(known[:, None], held, spec.held(held))


def seams_of(ticks: NDArray[np.void], chunks: NDArray[np.void]) -> list[Seam]:
    """Find where chunks took over from one another; steps count the ticks of the episode.

    Old and new plan are lined up where the robot is, as in `segue.lab.rollout`.
    """
    actions = {int(chunk["number"]): chunk["actions"] for chunk in chunks if chunk["outcome"] == TAKEN}
    seams, before, reached = [], None, 0
    for place, tick in enumerate(ticks):
        index = int(tick["index"])
        if index < 0:
            continue
        now = actions.get(int(tick["chunk"]))
        if tick["event"] == SWITCHED and before is not None and now is not None:
            seams.append(Seam(place, place - index, before[max(reached - index, 0) :], now))
        before, reached = now, index + 1
    return seams


def _poses(ticks: NDArray[np.void], spec: RobotSpec) -> Array | None:
    """Return the measured pose in every tick, also out of the observations. Shape (ticks, pose), None: not measured."""
    names = [name.split(" [")[0] for name in spec.pose_names]  # without the unit
    if ticks["pose"].shape[1]:
        poses = ticks["pose"]
    elif set(names) <= set(spec.observation_names) and ticks["observation"].shape[1] == len(spec.observation_names):
        poses = ticks["observation"][:, [spec.observation_names.index(name) for name in names]]
    else:
        return None
    known = np.isfinite(poses).all(axis=1)
    if not known.any():
        return None
    last = np.maximum.accumulate(np.where(known, np.arange(len(poses)), known.argmax()))
    return poses[last].astype(np.float64)


def scale_of(trace: Trace, commands: Sequence[Array]) -> tuple[Array, bool]:
    """Return the units of the actions, shape (action,), and whether they are the demonstrations'."""
    stated = trace.header.get("robot", {}).get("scale")
    if stated is not None:
        return np.asarray(stated, np.float64), True
    ends = np.cumsum([len(each) for each in commands])
    own = np.ones(trace.ticks["action"].shape[1])
    if commands:
        own = scale_of_motion(robot_spec(trace).kinds.about_mean(np.concatenate(commands)), ends)
    return np.where(own > NEVER_MOVES, own, 1.0), False


def episode_records(trace: Trace) -> list[EpisodeRecord]:
    """Make one record per epoch with actions, for `segue.core.metrics.episode_metrics`.

    A pose is measured before its tick's command, so that the last command, after which nothing was measured, is left
    out. Whether the task was solved a trace does not say: the outcome is no success.

    Raises:
        DataError: The header does not name the robot.
    """
    spec = robot_spec(trace)
    episodes = list(epochs(trace))
    scale, _ = scale_of(trace, [commands_of(ticks, spec) for ticks, _ in episodes])
    cruise = trace.header["robot"].get("cruise_speed")
    records = []
    for ticks, chunks in episodes:
        poses = _poses(ticks, spec)
        records.append(
            EpisodeRecord(
                spec=spec,
                scale=scale,
                commands=commands_of(ticks, spec)[:-1],
                measured=np.full((len(ticks), 1), np.nan) if poses is None else poses,
                seams=tuple(seam for seam in seams_of(ticks, chunks) if seam.step < len(ticks) - 1),
                outcome=Outcome(success=False, score=0.0, finished=False),
                completion_step=None,
                cruise_speed=math.nan if poses is None or cruise is None else float(cruise),
                max_steps=len(ticks),
                inference_calls=len(chunks),
                inference_seconds=float(chunks["seconds"].sum()),
            )
        )
    return records
