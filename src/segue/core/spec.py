"""The specification of a policy: compared with robots, and written and read as plain JSON.

    policy.spec --said--> JSON --of--> policy.spec     a server's greeting, a policy process's hello, a checkpoint
    policy.spec --check_fits--> robot.spec             before a policy drives a robot or a simulator
    server's spec --check_same--> client's spec        where a policy is expected

Two lists of joints that differ in their order are the same numbers in other places: no other check would notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import Cameras
from segue.core.robot import RobotSpec
from segue.errors import SpecError

LARGEST: Final = 4096
"""Bound of horizons, numbers of names, and heights and widths of pictures."""
LONGEST_NAME: Final = 256
"""Bound of the characters of names: what a peer calls itself or its joints ends up on somebody's terminal."""
SHORTEST_PERIOD: Final = 1e-6
LONGEST_PERIOD: Final = 3600.0
_MOST_CAMERAS: Final = 64
_SAME_PERIOD: Final = 1e-6  # [s]
_CORRECT: Final = "correct what the policy says of itself: fewer or shorter names, smaller pictures, shorter chunks"


@dataclass(frozen=True)
class PolicySpec:
    """Says what a chunk policy sees and answers.

    Attributes:
        horizon: H, actions per chunk.
        dt: Control period that its actions are meant for [s].
        observation_names: One per observation dimension.
        action_names: One per action dimension.
        cameras: Pictures that it sees beside the state; without any, observations are plain arrays.
        action_kinds: What each action dimension is.
        observation_kinds: What each observation dimension is.

    Raises:
        SpecError: A size, a period or a name that is out of range, or not one kind per dimension. Specifications come
            from files and peers, and whoever reads one makes room for what it says.
    """

    horizon: int
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: Cameras = field(default_factory=dict)
    action_kinds: Dimensions = LINEAR
    observation_kinds: Dimensions = LINEAR

    def __post_init__(self) -> None:
        pixels = [(f"camera {name!r:.40}", size) for name, each in self.cameras.items() for size in each]
        for name, size in (("horizon", self.horizon), ("actions", len(self.action_names)), *pixels):
            whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
            if not whole or not 1 <= size <= LARGEST:
                raise SpecError(f"a policy with {name} of size {size!r}", f"a whole number, 1 to {LARGEST}", _CORRECT)
        if not SHORTEST_PERIOD <= self.dt <= LONGEST_PERIOD:  # also refuses NaN
            periods = f"{SHORTEST_PERIOD:g} to {LONGEST_PERIOD:g} s"
            raise SpecError(f"a policy with a control period of {self.dt} s", periods, _CORRECT)
        for what, count, most in (
            ("observations", len(self.observation_names), LARGEST), ("cameras", len(self.cameras), _MOST_CAMERAS),
            ("characters in a name", max(map(len, (*self.observation_names, *self.action_names, *self.cameras))),
             LONGEST_NAME),
        ):  # fmt: skip
            if count > most:
                raise SpecError(f"a policy with {count} {what}", f"up to {most}", _CORRECT)
        self.action_kinds.check("action", self.action_names)
        self.observation_kinds.check("observation", self.observation_names)

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Shape of its chunks, (horizon, action)."""
        return self.horizon, len(self.action_names)

    @property
    def picture_bytes(self) -> int:
        """Bytes of one picture of each camera together."""
        return sum(3 * height * width for height, width in self.cameras.values())

    def said(self) -> dict[str, Any]:
        """Return its fields as plain JSON, kinds of dimensions as their words; `of` reads it."""
        return {name: value.words if isinstance(value, Dimensions) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, said: dict[str, Any]) -> "PolicySpec":
        """Read what `said` has written; kinds that are left out are linear, and other entries are ignored.

        Raises:
            SpecError: A field is missing, is of another type, or is out of range.
        """
        try:
            kinds = {
                name: Dimensions.of(*msgspec.convert(said.get(name, ()), tuple[str, ...]))
                for name in ("action_kinds", "observation_kinds")
            }
            return msgspec.convert({**said, **kinds}, cls)
        except msgspec.ValidationError as error:
            raise SpecError(
                f"a policy that says of itself: {error}", "horizon, dt, names, cameras and kinds", _CORRECT
            ) from error

    def check_fits(self, robot: RobotSpec, change: str) -> None:
        """Raise `SpecError` unless names and their order, kinds, cameras and period are this robot's.

        ``change`` is what the errors of these checks advise.
        """
        self.check_dimensions(robot, change)
        self.check_period(robot.dt, robot.name, change)

    def check_dimensions(self, robot: RobotSpec, change: str) -> None:
        """Check everything that `check_fits` checks but the period."""
        check_names("observation", self.observation_names, robot.observation_names, "a policy", robot.name, change)
        check_names("action", self.action_names, robot.action_names, "a policy", robot.name, change)
        if self.cameras != robot.cameras:
            said, has = (", ".join(map(str, each.items())) or "none" for each in (self.cameras, robot.cameras))
            raise SpecError(f"a policy of the cameras {said}", f"{has}, as {robot.name}", change)
        self.action_kinds.check_fits(robot.kinds, robot.action_names)
        self.observation_kinds.check_fits(
            robot.observation_kinds, robot.observation_names,
            does="a policy that sees", as_said="as the robot measures it",
        )  # fmt: skip

    def check_period(self, dt: float, whose: str, change: str) -> None:
        """Raise `SpecError` unless it was made for this control period [s]."""
        if not abs(self.dt - dt) <= _SAME_PERIOD:  # so written, what is no number does not fit
            raise SpecError(f"a policy for {1 / self.dt:g} Hz", f"{1 / dt:g} Hz, as {whose}", change)

    def check_same(self, expected: "PolicySpec", change: str) -> None:
        """Raise `SpecError` naming the first field of a server's specification that differs from its client's."""
        for kind in ("observation", "action"):
            theirs, ours = (getattr(each, f"{kind}_names") for each in (self, expected))
            check_names(kind, theirs, ours, "a server", "the client", change)
        said = self.said()
        for name, ours in expected.said().items():
            if said[name] != ours:
                theirs, ours = (each or "none" for each in (said[name], ours))
                raise SpecError(f"a server with {name} {theirs}", f"{ours}, as the client has it", change)


def check_names(kind: str, theirs: Sequence[str], ours: Sequence[str], of: str, whose: str, change: str) -> None:
    """Raise `SpecError` unless ``theirs``, the names that ``of`` has, are ``ours``, of ``whose``, in the same order."""
    if tuple(theirs) == tuple(ours):
        return
    at = next((i for i, pair in enumerate(zip(theirs, ours, strict=False)) if pair[0] != pair[1]), None)
    got = f"{len(theirs)} {kind}s" if at is None else f"{theirs[at]!r} as {kind} {at}"
    expected = f"{len(ours)}" if at is None else f"{ours[at]!r}"
    raise SpecError(f"{of} with {got}", f"{expected}, as {whose} has it", change)
