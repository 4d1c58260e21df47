"""Demonstrations of MetaWorld tasks by its scripted experts, made to differ from one another.

The experts are feedback laws: left alone, they do every episode the same way at the same speed. Each episode therefore
draws a speed, a side on which to pass a via point before the expert takes over, and a level of execution noise. The
noise moves the arm, but the action that is recorded is the clean one (DART, arXiv 1703.09327), so that the
demonstrations show how to come back.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from segue.data.episodes import Episodes
from segue.lab.tasks.demonstrator import Frames, cached, successes
from segue.lab.tasks.metaworld import STEP, MetaWorld
from segue.lab.tasks.metaworld import TASKS as NAMES
from segue.lab.tasks.task import Group, Task

RECIPE = 1  # part of the cached file's name; raise it with every change to what is recorded
MAX_STEPS = 300
KEPT_AFTER_SUCCESS = 10  # [steps]
_VIA_REACHED = 0.02  # [m]
_VIA_STEPS = 40  # give up on a via point that something is in the way of
# Where an expert fails nearly always if it is slowed down, or if it has to start from elsewhere
_FULL_SPEED = ("basketball", "shelf-place", "stick-push")
_STRAIGHT = ("door-open",)

Expert = Callable[[NDArray[np.float64]], NDArray]


@dataclass(frozen=True)
class Style:
    """How one episode is done.

    Attributes:
        speed: Share of the expert's displacement that is commanded.
        side: Where the via point lies beside the straight line from tool to object [m], signed; 0 for no via point.
        height: How much higher than the tool's start the via point lies [m].
        noise: Standard deviation of what is added to the displacement, in action units.
    """

    speed: float
    side: float
    height: float
    noise: float


def draw_style(task: str, generator: np.random.Generator) -> Style:
    """A style from a random generator: left or right, never the middle, where the task's expert can cope with it."""
    style = Style(
        speed=generator.uniform(0.6, 1.0),
        side=generator.choice([-1.0, 1.0]) * generator.uniform(0.04, 0.08),
        height=generator.uniform(0.0, 0.04),
        noise=generator.choice([0.0, 0.3]),
    )
    if task in _FULL_SPEED:
        style = replace(style, speed=1.0)
    return replace(style, side=0.0) if task in _STRAIGHT else style


def demonstrations(task: str, episodes: int = 300, seed: int = 0) -> Episodes:
    """Successful episodes of a MetaWorld task, made once and then read from a cache.

    The cache lies in ``$SEGUE_CACHE``, or else in ``~/.cache/segue``.

    Raises:
        UnknownNameError: There is no such task.
        MissingExtraError: metaworld is not installed.
        DataError: The expert fails too often.
    """
    return cached(f"metaworld/{task}-{episodes}-seed{seed}-recipe{RECIPE}.npz", lambda: record(task, episodes, seed))


def record(task: str, episodes: int, seed: int) -> Episodes:
    """Like `demonstrations`, without the cache. The same arguments give the same frames."""
    simulator, expert = MetaWorld(task), scripted_expert(task)
    return successes(
        simulator,
        lambda generator: play(simulator, expert, draw_style(task, generator), generator),
        episodes=episodes,
        attempts=4 * episodes,
        seed=seed,
        state_of_action=(None,) * len(simulator.spec.action_names),
        source=f"scripted expert of MetaWorld 3 (MIT), task {task}, seed {seed}",
        change="ask for fewer episodes, or take another task",
    )


def play(simulator: MetaWorld, expert: Expert, style: Style, generator: np.random.Generator) -> Frames:
    """One episode from the simulator's present state, until shortly after success."""
    via = _via_point(simulator.raw, style) if style.side else None
    observations, actions, left = [], [], KEPT_AFTER_SUCCESS
    with warnings.catch_warnings():
        # The experts ask for more than the limits on purpose and say so on every step
        warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high")
        for step in range(MAX_STEPS):
            if via is not None and (np.linalg.norm(via - simulator.raw[:3]) < _VIA_REACHED or step == _VIA_STEPS):
                via = None
            action = np.clip(np.asarray(expert(simulator.raw), np.float64), -1, 1)
            if via is not None:
                action[:3] = _towards(simulator.raw[:3], via)
            action[:3] *= style.speed
            observations.append(simulator.observe())
            actions.append(action.astype(np.float32))
            simulator.send(action + np.append(style.noise * generator.normal(size=3), 0))
            if simulator.outcome().success:
                left -= 1
            if left < 0:
                break
    return np.stack(observations), np.stack(actions)


def _via_point(raw: NDArray[np.float64], style: Style) -> NDArray[np.float64]:
    """A point beside the middle of the way from tool to object [m]. Shape (3,)."""
    tool, item = raw[:3], raw[4:7]
    way = (item - tool)[:2]
    length = np.linalg.norm(way)
    across = np.array([-way[1], way[0]]) / length if length > STEP else np.array([1.0, 0.0])
    return np.append(tool[:2] + way / 2 + style.side * across, tool[2] + style.height)


def _towards(tool: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Straight displacement at full speed, in action units. Shape (3,)."""
    way = (point - tool) / STEP
    return way / max(1.0, float(np.abs(way).max()))


def scripted_expert(task: str) -> Expert:
    """MetaWorld's own feedback law for a task, from its observation (39,) to an action (4,), not clipped."""
    from metaworld.policies import ENV_POLICY_MAP

    return ENV_POLICY_MAP[f"{task}-v3"]().get_action


def _groups(_: MetaWorld) -> tuple[Group, ...]:
    return (Group("tool", (0, 1, 2), "mm", "displacement", scale=1000 * STEP), Group("gripper", (3,), "effort"))


TASKS = tuple(
    Task(
        name=f"metaworld/{name}",
        summary=f"{name.replace('-', ' ')} with a Sawyer arm; 300 scripted demonstrations at 80 Hz",
        dt=0.0125,
        max_steps=300,
        horizon=32,
        execution_horizon=8,
        simulator=partial(MetaWorld, name),
        demonstrations=partial(demonstrations, name),
        groups=_groups,
    )
    for name in NAMES
)
