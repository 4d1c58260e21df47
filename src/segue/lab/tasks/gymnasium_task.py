"""Any environment of Gymnasium as a task, on demonstrations of the user's.

    gymnasium:Reacher-v5:data=reacher.npz
    gymnasium:my_module/Mine-v0:success=is_success:dt=0.05:steps=200:command=velocity:data=demonstrations

What an environment does not say stands behind its id:

    success     key of `info` that is true once the task is solved; else ``is_success`` or ``success``, if there is one
    dt          control period [s]; else the environment's attribute ``dt``, else that of its ``render_fps``
    steps       after which an episode has failed; else ``max_episode_steps``
    command     what an action is: a ``position``, which a hold repeats (the default), or a ``velocity``, which it zeros
    data        file or folder of demonstrations that `segue.data.files.load` reads without further options

A module that registers environments is imported, whether it is named ``my_module/Mine-v0`` or ``my_module:Mine-v0``.

State and actions are the numbers of the environment's Boxes, flat, of a Dict under its keys in alphabetical order, as
the environment takes them; a Box of (height, width, 3) uint8 is a camera. The measured motion is the whole state.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import plugins
from segue.core.observation import Observed, seen
from segue.core.robot import Outcome, RobotSpec
from segue.data import files, minari
from segue.data.episodes import Episodes
from segue.errors import DataError, MissingExtraError, SegueError, SpecError, UnknownNameError
from segue.lab.tasks.task import Task

PREFIX = "gymnasium:"
SETTINGS = ("success", "dt", "steps", "command", "data")
SUCCESS = ("is_success", "success")
"""Keys of `info` that say it in many environments."""
HORIZON, EXECUTED = 32, 8


class GymnasiumSimulator:
    """An environment of Gymnasium as a simulator.

    Args:
        name: Id of the environment.
        success: Key of `info`; None for the first of `SUCCESS` that there is.
        dt: Control period [s]; None for the environment's own.
        command: What an action commands, see `RobotSpec`.

    Raises:
        SpecError: Its spaces are no bounded Boxes of actions and Boxes of observations, or it says no period.
        UnknownNameError: There is no such environment.
        MissingExtraError: Gymnasium is not installed.
    """

    def __init__(self, name: str, success: str | None = None, dt: float | None = None, command: str = "position"):
        self.environment = made(name)
        self._success = success
        taken = _actions(self.environment.action_space, name)
        self._parts = _parts(self.environment.observation_space, name)
        state = [key for key, space in self._parts.items() if not _pictured(space)]
        if not state:
            raise _refused(name, "pictures alone", "numbers beside them, which are the state that a policy sees")
        observed = _numbered({key: self._parts[key].shape for key in state})
        self.spec = RobotSpec(
            name=name,
            dt=dt or _period(self.environment, name),
            observation_names=observed,
            action_names=_numbered({"action": taken.shape}),
            action_low=taken.low.reshape(-1).astype(np.float32),
            action_high=taken.high.reshape(-1).astype(np.float32),
            command=command,  # type: ignore[arg-type]  # the specification says what is wrong with it
            pose_names=observed,
            cameras={key: space.shape[:2] for key, space in self._parts.items() if _pictured(space)},
        )
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start an episode from the environment's own reset."""
        seen_first, info = self.environment.reset(seed=seed)
        self._last = self.spec.clip(np.zeros(len(self.spec.action_names)))
        self._solved, self._ended = False, False
        self._keep(seen_first, info)

    def observe(self) -> Observed:
        """State and pictures. Shape (observation,), float32, or an `Observation`."""
        return seen(self._state, self._pictures)

    def send(self, action: NDArray) -> None:
        """One step of the environment; none once it has ended."""
        if self._ended:  # Gymnasium leaves open what a step after the end does
            return
        self._last, space = self.spec.clip(action), self.environment.action_space
        observed, _, terminated, truncated, info = self.environment.step(
            self._last.astype(space.dtype).reshape(space.shape)
        )
        self._ended = bool(terminated or truncated)
        self._keep(observed, info)

    def hold(self) -> None:
        """The last action once more, or zeros, as ``command`` says."""
        self.send(self.spec.held(self._last))

    def stop(self) -> None:
        """A simulation has nothing to let go of."""

    def rest(self) -> NDArray[np.float64]:
        """The last action; before the first, zeros. Shape (action,)."""
        return self._last.astype(np.float64)

    def pose(self) -> NDArray[np.float64]:
        """The whole state. Shape (observation,)."""
        return self._state.astype(np.float64)

    def outcome(self) -> Outcome:
        """Solved once ``success`` was true in `info`; finished then, or at the environment's own end."""
        return Outcome(self._solved, float(self._solved), finished=self._solved or self._ended)

    def frame(self) -> NDArray[np.uint8]:
        """What the environment draws. Shape (height, width, 3)."""
        if self.environment.render_mode != "rgb_array":
            raise SegueError(f"{self.spec.name} without a picture", "the render mode rgb_array", "leave the film out")
        try:
            return np.asarray(self.environment.render(), np.uint8)
        except Exception as error:  # whatever a renderer of somebody's raises
            raise SegueError(
                f"{self.spec.name} cannot be drawn ({error})", "a picture", "install its renderer"
            ) from error

    def _keep(self, observed: Any, info: Mapping[str, Any]) -> None:
        """Take over what a step says."""
        found = {key: _part(observed, key) for key in self._parts}
        numbers = [np.ravel(value) for key, value in found.items() if not _pictured(self._parts[key])]
        self._state = np.concatenate(numbers).astype(np.float32)
        self._pictures = {key: found[key] for key in self.spec.cameras}
        if not np.isfinite(self._state).all():
            wrong = self.spec.observation_names[int(np.flatnonzero(~np.isfinite(self._state))[0])]
            raise SpecError(f"{wrong!r} of {self.spec.name} is not finite", "finite numbers", "mend the environment")
        keys = SUCCESS if self._success is None else (self._success,)
        said = next((key for key in keys if key in info), None)
        self._solved = self._solved or (said is not None and bool(info[said]))
        if self._ended and said is None and self._success is not None:
            raise UnknownNameError(f"key of the info of {self.spec.name}", self._success, info)


def with_data(name: str, data: Path | None) -> str:
    """The name of a Gymnasium task on demonstrations of the user's; where there are none, the name as it is.

    Raises:
        DataError: It is another task, whose demonstrations are its own.
    """
    if data is None:
        return name
    if not name.startswith(PREFIX):
        raise DataError(f"--data with the task {name}", "--data with a task of Gymnasium", "leave it out")
    return f"{name}:data={data}"


@cache
def task(name: str) -> Task:
    """The task of an environment, see above. Whether its spaces can be used shows when a simulator is made.

    Raises:
        SpecError: A setting that there is not, or is no number; or the environment says no number of steps.
        UnknownNameError: There is no such environment.
        MissingExtraError: Gymnasium is not installed.
    """
    id_, *texts = re.split(rf":(?=(?:{'|'.join(SETTINGS)})=)", name.removeprefix(PREFIX))
    settings = dict(text.split("=", 1) for text in texts)
    if "=" in id_:
        raise UnknownNameError("setting of a Gymnasium task", id_.rpartition(":")[2].partition("=")[0], SETTINGS)
    dt, steps = _number(settings, "dt"), _number(settings, "steps")
    how = dict(success=settings.get("success"), dt=dt, command=settings.get("command", "position"))
    simulator = partial(GymnasiumSimulator, id_, **how)
    environment = made(id_)
    most = steps or (environment.spec and environment.spec.max_episode_steps)
    if not most:
        raise SpecError(
            got=f"{id_}, which does not say after how many steps an episode has failed",
            expected="a number of steps",
            change=f"{name}:steps=200",
        )
    code = type(environment.unwrapped)
    return Task(
        name=name,
        summary=f"{id_} of Gymnasium",
        dt=dt or _period(environment, id_),
        max_steps=int(most),
        horizon=HORIZON,
        execution_horizon=EXECUTED,
        simulator=simulator,
        demonstrations=partial(_demonstrations, simulator, settings.get("data")),
        code=() if code.__module__.partition(".")[0] in ("gymnasium", "gymnasium_robotics") else (code,),
    )


def made(name: str) -> Any:
    """The environment of an id, its module imported; it draws itself where it can.

    Raises:
        UnknownNameError: There is no such environment.
        SpecError: There is no such module, or the environment cannot be made.
        MissingExtraError: Gymnasium is not installed.
    """
    gymnasium = _gymnasium()
    what = f"the environment {name!r}"
    module, colon, id_ = name.rpartition(":")
    if colon:
        plugins.imported_module(module, what)
    elif "/" in id_ and id_ not in gymnasium.registry:
        plugins.imported_module(id_.partition("/")[0], what)
    if id_ not in gymnasium.registry:
        own = "gymnasium:my_module/Mine-v0, which imports my_module"
        raise UnknownNameError(
            "environment of Gymnasium", id_, gymnasium.registry, own, "`gymnasium.pprint_registry()`"
        )
    entry = gymnasium.registry[id_].entry_point
    try:
        maker = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        modes = getattr(maker, "metadata", {}).get("render_modes", ())
        drawn = {"render_mode": "rgb_array"} if "rgb_array" in modes else {}  # others need not take the argument
        return gymnasium.make(id_, disable_env_checker=True, **drawn)
    except Exception as error:  # whatever an environment of somebody's raises
        raise SpecError(
            got=f"{what} cannot be made ({type(error).__name__}: {str(error)[:200]})",
            expected=f"gymnasium.make({id_!r})",
            change="install what it needs, or mend it",
        ) from error


def _number(settings: Mapping[str, str], key: str) -> float | None:
    """A setting that is a positive number."""
    if key not in settings:
        return None
    try:
        found = float(settings[key])
    except ValueError:
        found = -1.0
    if not (isfinite(found) and found > 0):
        raise SpecError(f"{key}={settings[key]} of a Gymnasium task", "a positive number", "correct it")
    return found


def _period(environment: Any, name: str) -> float:
    """Control period of an environment [s]."""
    own, rate = getattr(environment.unwrapped, "dt", None), environment.metadata.get("render_fps")
    if isinstance(own, int | float) and own > 0:
        return float(own)
    if isinstance(rate, int | float) and rate > 0:
        return 1 / rate
    raise SpecError(
        got=f"{name}, which does not say its control period",
        expected="an attribute `dt` [s], or `render_fps` in its metadata",
        change=f"{PREFIX}{name}:dt=0.05, with the period in seconds",
    )


def _actions(space: Any, name: str) -> Any:
    """The space of actions, which has to be a bounded Box."""
    if not _is_box(space):
        kind = type(space).__name__
        raise _refused(name, f"{kind} actions", "continuous ones, a Box: chunks are paths, and these have none")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise _refused(name, "unbounded actions", "a Box with finite limits, which every command is kept to")
    return space


def _parts(space: Any, name: str, key: str = "") -> dict[str, Any]:
    """The Boxes of an observation by their keys, in alphabetical order; one alone is called observation."""
    if hasattr(space, "spaces") and isinstance(space.spaces, Mapping):
        inner = (_parts(space.spaces[each], name, f"{key}/{each}" if key else each) for each in sorted(space.spaces))
        return {each: part for found in inner for each, part in found.items()}
    if not _is_box(space):
        where = f" under {key!r}" if key else ""
        raise _refused(name, f"observations of {type(space).__name__}{where}", "Boxes, or a Dict of them")
    return {key or "observation": space}


def _part(observed: Any, key: str) -> Any:
    """What stands under a key of `_parts` in an observation."""
    for each in key.split("/") if isinstance(observed, Mapping) else ():
        observed = observed[each]
    return observed


def _refused(name: str, got: str, expected: str) -> SpecError:
    return SpecError(f"{name} with {got}", expected, "put a wrapper of Gymnasium around it, and register that")


def _is_box(space: Any) -> bool:
    return isinstance(space, _gymnasium().spaces.Box)


def _pictured(space: Any) -> bool:
    return space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] == 3


def _numbered(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    return tuple(f"{key} {i}" for key, shape in shapes.items() for i in range(int(np.prod(shape))))


@cache
def _read(path: str, rate: float, cameras: tuple[str, ...]) -> Episodes:
    place = Path(path)
    return files.load(place, rate=rate if minari.is_data_set(place) else None, cameras=cameras)


def _demonstrations(simulator: partial[GymnasiumSimulator], path: str | None) -> Episodes:
    """The user's demonstrations in the environment's names.

    Raises:
        DataError: There are none, or they are of another environment.
    """
    spec = simulator().spec
    if path is None:
        raise DataError(
            got=f"no demonstrations for {spec.name}",
            expected="some of the user's: Gymnasium has none",
            change="--data FILE, or :data=FILE behind the task",
        )
    found = _read(path, 1 / spec.dt, tuple(spec.cameras))
    for what, theirs, ours in (
        ("observations", len(found.observation_names), len(spec.observation_names)),
        ("actions", len(found.action_names), len(spec.action_names)),
        ("Hz", round(1 / found.dt, 3), round(1 / spec.dt, 3)),
        ("cameras", sorted(found.pictures), sorted(spec.cameras)),
    ):
        if theirs != ours:
            raise DataError(f"{path} with {theirs} {what}", f"{ours}, as {spec.name}", "give data of this environment")
    return replace(found, observation_names=spec.observation_names, action_names=spec.action_names)


def _gymnasium() -> ModuleType:
    try:
        import gymnasium
    except ImportError as error:
        raise MissingExtraError("gymnasium", "sim", "a task of Gymnasium") from error
    return gymnasium
