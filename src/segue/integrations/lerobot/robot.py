"""A robot of LeRobot as one of ours: what `segue run --robot lerobot:TYPE` drives.

    get_observation  {"elbow.pos": 12.5, ...} --> state, in the order of observation_features
    cameras          front, wrist             --> observation.images.front, ...: pictures as its data sets name them,
                                                  each read in a thread of its own, with its age
    send_action      {"elbow.pos": 13.0, ...} <-- action

Nothing is converted. A joint of LeRobot speaks degrees, -100 to 100, or 0 to 100, as its motors are set up and as its
data sets were recorded; what the motors say of it becomes its unit and its range here. As LeRobot's own rollout does,
this takes positions (``.pos``) and velocities (``.vel``), and leaves currents and the like alone.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import Observation, Observed
from segue.core.robot import Robot, RobotSpec
from segue.errors import SpecError
from segue.integrations.lerobot.watched import Watched

RANGES: Final = {
    "degrees": ("deg", -180.0, 180.0),
    "range_m100_100": ("1", -100.0, 100.0),
    "range_0_100": ("1", 0.0, 100.0),
}
"""Unit and range of a joint by how LeRobot normalises its motor."""
IMAGES: Final = "observation.images."
PICTURE_AGE: Final = 0.25
"""Age from which on a picture is not used, where nothing else is said [s]."""
_FIRST_PICTURE: Final = 5.0  # [s]


class Theirs(Protocol):
    """What is used of a robot of LeRobot."""

    name: str

    @property
    def observation_features(self) -> Mapping[str, Any]:
        """``float`` for a number, (height, width, 3) for a camera."""
        ...

    @property
    def action_features(self) -> Mapping[str, Any]:
        """``float`` for a number."""
        ...

    def connect(self) -> None:
        """Open bus and cameras."""
        ...

    def disconnect(self) -> None:
        """Close them; most arms let go of their torque then."""
        ...

    def get_observation(self) -> Mapping[str, Any]:
        """Numbers and pictures by name."""
        ...

    def send_action(self, action: dict[str, float]) -> Any:
        """Targets by name."""
        ...


class LeRobotRobot(Robot):
    """A robot of LeRobot, driven by our runtime.

    Args:
        theirs: Not connected yet.
        dt: Control period [s].
        ranges: Lowest and highest command by the name of an action, where the motors do not say it, or more narrowly.
        prompt: What is to be done, for policies that are told.
        picture_age: Age from which on a picture is a failure to observe [s].
        clock: Seconds; of the pictures.

    Raises:
        SpecError: Nothing says how far a joint may go, or where it is.
    """

    def __init__(
        self,
        theirs: Theirs,
        *,
        dt: float,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        prompt: str = "",
        picture_age: float = PICTURE_AGE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.theirs, self._prompt, self._picture_age, self._clock = theirs, prompt, picture_age, clock
        features = theirs.observation_features
        seen = tuple(name for name, kind in features.items() if not isinstance(kind, tuple) and _moves(name))
        actions = tuple(name for name in theirs.action_features if _moves(name))
        positions = [name for name in actions if name.endswith(".pos")]
        if homeless := [name for name in positions if name not in seen]:
            raise SpecError(
                got=f"{theirs.name}, which commands {homeless[0]!r} and does not measure it",
                expected="a measured position for every position that is commanded",
                change="drive this robot with `lerobot-rollout --inference.type=segue`",
            )
        units, low, high = zip(*(_range(theirs, name, dict(ranges or {})) for name in actions), strict=True)
        self.units: tuple[str, ...] = units
        """Of each action: "deg", or "1" for a share of its range."""
        self._rates = np.array([name.endswith(".vel") for name in actions])
        measured = positions or list(seen)
        self._at = [seen.index(name) for name in measured]
        unit_of = dict(zip(actions, units, strict=True))
        colour = {name: size for name, size in features.items() if isinstance(size, tuple) and size[2:] == (3,)}
        kinds = Dimensions.of(*("velocity" if rate else "linear" for rate in self._rates))
        self._spec = RobotSpec(
            theirs.name, dt, seen, actions, np.array(low, np.float32), np.array(high, np.float32), "position",
            tuple(f"{name} [{unit_of.get(name, '1')}]" for name in measured),
            {IMAGES + name: (size[0], size[1]) for name, size in colour.items()},
            kinds if self._rates.any() else LINEAR,
        )  # fmt: skip
        self._connected, self._cameras = False, dict[str, Any]()
        self._watched: dict[str, Watched] = {}
        self._state: NDArray[np.float32] | None = None
        self._sent: NDArray[np.float32] | None = None

    @property
    @override
    def spec(self) -> RobotSpec:
        return self._spec

    def connect(self) -> None:
        """Open bus and cameras, wait for the first picture of each, and measure where it is.

        Raises:
            RobotError: A camera shows nothing.
        """
        self.theirs.connect()
        self._connected = True
        cameras = getattr(self.theirs, "cameras", {})
        sizes = {key.removeprefix(IMAGES): size for key, size in self.spec.cameras.items()}
        mine = {name: cameras[name] for name in sizes if name in cameras}
        try:
            if mine and mine.keys() == cameras.keys():  # or it would wait for pictures that the threads have taken
                self._cameras, self.theirs.cameras = cameras, {}  # type: ignore[attr-defined]
                self._watched = {
                    name: Watched(name, camera.async_read, sizes[name], self._clock) for name, camera in mine.items()
                }
                for each in self._watched.values():
                    each.wait(_FIRST_PICTURE)
            self.observe()
        except BaseException:
            with suppress(Exception):  # what has happened before says more
                self.disconnect()
            raise

    def disconnect(self) -> None:
        """End the threads and close bus and cameras, as LeRobot does it: most arms let go of their torque then.

        May be called twice.
        """
        if not self._connected:
            return
        self._connected = False
        for each in self._watched.values():
            each.close()
        if self._watched:
            self.theirs.cameras = self._cameras  # type: ignore[attr-defined]
        self._watched = {}
        self.theirs.disconnect()

    @override
    def observe(self) -> Observed:
        """See `Driver.observe`.

        Raises:
            RobotError: A picture is missing, or too old; it is not used.
        """
        found, now = self.theirs.get_observation(), self._clock()
        self._state = np.array([found[name] for name in self.spec.observation_names], np.float32)
        pictures, ages = {}, {}
        for key in self.spec.cameras:
            name = key.removeprefix(IMAGES)
            watched = self._watched.get(name)
            pictures[key], ages[key] = (
                watched.newest(self._picture_age) if watched else (np.asarray(found[name]), self._clock() - now)
            )
        if not pictures and not self._prompt:
            return self._state
        return Observation(self._state, pictures, self._prompt, ages)

    @override
    def send(self, action: NDArray) -> None:
        self._sent = self.spec.clip(action)
        self.theirs.send_action(dict(zip(self.spec.action_names, self._sent.tolist(), strict=True)))

    @override
    def hold(self) -> None:
        if self._rates.any() and self._sent is not None:
            self.send(self.spec.held(self._sent))

    @override
    def stop(self) -> None:
        """Command velocities of zero. Positions stay at their last target, under torque, until `disconnect`."""
        self.hold()

    def rest(self) -> NDArray[np.float64]:
        """See `segue.core.robot.Resting`: where it was measured last, and no velocity."""
        command = np.zeros(len(self.spec.action_names))
        if not self._rates.all():
            command[~self._rates] = self.pose()
        return np.clip(command, self.spec.action_low, self.spec.action_high)

    def pose(self) -> NDArray[np.float64]:
        """Where the joints were in the last observation, in units of their actions. Shape (positions,)."""
        assert self._state is not None, "connect has observed"
        return self._state[self._at].astype(np.float64)


def _moves(name: str) -> bool:
    return name.endswith((".pos", ".vel"))


def _range(theirs: Theirs, name: str, given: dict[str, tuple[float, float]]) -> tuple[str, float, float]:
    """Unit, lowest and highest command of an action."""
    motor = getattr(getattr(theirs, "bus", None), "motors", {}).get(name.rpartition(".")[0])
    mode = str(getattr(getattr(motor, "norm_mode", None), "value", ""))
    unit, low, high = RANGES.get(mode, ("1", None, None)) if name.endswith(".pos") else ("1", None, None)
    low, high = given.get(name, (low, high))
    if low is None or high is None:
        raise SpecError(
            got=f"{theirs.name}, whose motors do not say how far {name!r} goes",
            expected="a lowest and a highest command, in the unit of its data sets",
            change=f"give ranges, such as {name}=-90:90",
        )
    return unit, float(low), float(high)
