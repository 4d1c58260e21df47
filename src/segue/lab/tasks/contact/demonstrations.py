r"""Demonstrations of contact tasks by a scripted expert, made to differ from one another.

The expert knows where the work lies. It goes to one end of it, lands, traces it in contact, lifts the tool, and comes
back, up to twice, for what is left:

        \                      /          free
         \ hover        hover /           landing, lifting
    ------+------------------+------      surface
           \----- trace ----/             target, `depth` below

Each episode draws a speed, a depth, a shift along the surface, the end at which it begins, and whether there is
execution noise. Noise moves the arm, but the action that is recorded is the clean one (DART, arXiv 1703.09327).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from segue.data.episodes import Episodes
from segue.lab.tasks.contact.contact import ContactTask, smoothed
from segue.lab.tasks.contact.panda import Vector
from segue.lab.tasks.demonstrator import Frames, cached, successes
from segue.lab.tasks.task import Group, Task

RECIPE = 1  # part of the cached file's name; raise it with every change to what is recorded
MAX_STEPS = 1500
PASSES = 3
KEPT_AFTER_SUCCESS = 10  # [steps]
FREE, LANDING = 0.25, 0.05  # [m/s]
TURNING = 1.2  # [rad/s], nowhere does the tool tilt faster
HOVER = 0.02  # [m]
ROUNDING = 0.15  # [s], over which the timed way is averaged, so that speed and direction change gently
NOISE_TIME = 0.2  # [s], over which execution noise changes
NORMAL_NOISE, TILT_NOISE = 0.2, 0.01  # standard deviation of execution noise, in depths and [rad]


@dataclass(frozen=True)
class Style:
    """How one episode is done.

    Attributes:
        speed: Along the surface [m/s].
        depth: Of the target below the surface [m].
        shift: Along the surface's axes, of the whole way [m].
        backwards: Begin at the work's other end.
        noise: Standard deviation of execution noise along the surface [m]; with 0 there is none at all.
    """

    speed: float
    depth: float
    shift: tuple[float, float]
    backwards: bool
    noise: float


def draw_style(task: ContactTask, generator: np.random.Generator) -> Style:
    """A style from a random generator, within what the surface allows."""
    slack = task.surface.slack
    return Style(
        speed=generator.uniform(*task.surface.speed),
        depth=generator.uniform(*task.surface.depth),
        shift=(generator.uniform(-slack, slack) / 2, generator.uniform(-slack, slack) / 2),
        backwards=bool(generator.integers(2)),
        noise=float(slack / 4 * generator.integers(2)),
    )


def demonstrations(simulator: Callable[[], ContactTask], name: str, episodes: int = 100, seed: int = 0) -> Episodes:
    """Successful episodes of a contact task, made once and then read from a cache.

    The cache lies in ``$SEGUE_CACHE``, or else in ``~/.cache/segue``.

    Args:
        simulator: Makes the task.
        name: Of the task.
        episodes: How many.
        seed: Another one gives other episodes.

    Raises:
        MissingExtraError: robosuite is not installed.
        DataError: The expert fails too often.
    """
    return cached(
        f"contact/{name}-{episodes}-seed{seed}-recipe{RECIPE}.npz", lambda: record(simulator(), episodes, seed)
    )


def record(task: ContactTask, episodes: int, seed: int) -> Episodes:
    """Like `demonstrations`, without the cache. The same arguments give the same frames."""
    return successes(
        task,
        lambda generator: play(task, draw_style(task, generator), generator),
        episodes=episodes,
        attempts=2 * episodes,
        seed=seed,
        state_of_action=tuple(range(len(task.spec.action_names))),
        source=f"scripted expert of Segue, robosuite 1.5 (MIT), task {task.spec.name}, seed {seed}",
        change="use a stiffer arm; the expert's depths are made for kp = 4000",
    )


def play(task: ContactTask, style: Style, generator: np.random.Generator) -> Frames:
    """One episode from the task's present state, until shortly after success."""
    spec = task.spec
    noisy = float(style.noise > 0)
    scale = np.array([style.noise, style.noise, noisy * NORMAL_NOISE * style.depth, noisy * TILT_NOISE])
    scale = scale[: len(spec.action_names)]
    keep = np.exp(-spec.dt / NOISE_TIME)
    noise, observations, actions, left = np.zeros(len(scale)), [], [], KEPT_AFTER_SUCCESS
    for _ in range(PASSES):
        for action in plan(task, style):
            action = spec.clip(action)
            observations.append(task.observe())
            actions.append(action)
            noise = keep * noise + np.sqrt(1 - keep**2) * scale * generator.normal(size=len(scale))
            task.send(action + noise)
            left -= task.outcome().success
            if left < 0 or len(actions) == MAX_STEPS:
                return np.stack(observations), np.stack(actions)
        if task.outcome().success:
            break
    return np.stack(observations), np.stack(actions)


def plan(task: ContactTask, style: Style) -> Vector:
    """Targets for what is left of the work, from where the tool is now. Shape (steps, action)."""
    way, speeds = [task.pose()], []
    strokes = task.surface.strokes(task.done)
    for stroke in [one[::-1] for one in strokes[::-1]] if style.backwards else strokes:
        outwards = np.stack([-task.surface.rotation(action)[:, 2] for action in stroke])
        trace, above = stroke.copy(), stroke.copy()
        trace[:, :2] += style.shift
        trace[:, :3] -= style.depth * outwards
        above[:, :3] = trace[:, :3] + (HOVER + style.depth) * outwards
        way += [above[0], *trace, above[-1]]
        speeds += [FREE, LANDING, *[style.speed] * (len(trace) - 1), LANDING]
    return timed(np.stack(way), np.array(speeds), task.spec.dt)


def timed(way: Vector, speeds: Vector, dt: float) -> Vector:
    """A way (n, action) with one speed per leg (n - 1,) [m/s] as one target per step, smooth. Shape (steps, action)."""
    if not len(speeds):
        return way
    legs = np.diff(way, axis=0)
    duration = np.linalg.norm(legs[:, :3], axis=1) / speeds
    if legs.shape[1] > 3:
        duration = np.maximum(duration, np.abs(legs[:, 3]) / TURNING)
    arrival = ROUNDING / 2 + np.concatenate([[0.0], np.cumsum(duration)])  # so that it begins and ends at rest
    ticks = np.arange(0, arrival[-1] + ROUNDING / 2, dt)
    targets = np.column_stack([np.interp(ticks, arrival, column) for column in way.T])
    return smoothed(targets, np.hanning(round(ROUNDING / dt) | 1))


def task_of(simulator: Callable[[], ContactTask], name: str, summary: str, dt: float, max_steps: int) -> Task:
    """The task that is set in a simulator, with scripted demonstrations of it."""
    return Task(
        name=name,
        summary=summary,
        dt=dt,
        max_steps=max_steps,
        horizon=48,
        execution_horizon=24,
        simulator=simulator,
        demonstrations=partial(demonstrations, simulator, name),
        groups=_groups,
    )


def _groups(arm: ContactTask) -> tuple[Group, ...]:
    position = Group("tool", (0, 1, 2), "mm", scale=1000)
    tilt = tuple(range(3, len(arm.spec.action_names)))
    return (position, Group("tilt", tilt, "rad", "angle")) if tilt else (position,)
