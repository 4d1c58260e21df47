r"""How a server of openpi is told what a robot sees: a small TOML file, three of which are shipped by name.

rate = 50                 of the actions, where it is known             [Hz]
actions = 14              how many, or their names in their order, where they are known
nested = true             "images/cam_high" is a map in a map, not a key with a slash
channels = "first"        pictures are (3, height, width); "last": (height, width, 3)
size = [224, 224]         of pictures, which are shrunk to it, with black where their shape is another

[state]                   key = so many of the robot's numbers, in its order; or their names
"observation/joint_position" = 7
"observation/gripper_position" = ["gripper"]

[cameras]                 key = the robot's camera
"observation/wrist_image_left" = "wrist"
"""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.observation import Observation, Observed, Picture, state_of
from segue.core.spec import LARGEST, LONGEST_NAME, PolicySpec, check_names
from segue.errors import SpecError
from segue.links import frames

_SHIPPED: Final = Path(__file__).with_name("layouts")
LAYOUTS: Final = tuple(sorted(file.stem for file in _SHIPPED.glob("*.toml")))
"""Those that are shipped."""
_LARGEST_FILE: Final = 2**16  # [bytes]
_SAME_RATE: Final = 1e-5
_Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
_Size = Annotated[int, Meta(ge=1, le=LARGEST)]
_Numbers = _Size | Annotated[tuple[_Name, ...], Meta(min_length=1)]
_YOURS: Final = "write a layout file of your own, from one in segue/links/layouts, and name it with --layout"


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which parts of an observation a server of openpi is sent, and under which keys.

    Attributes:
        state: By key, how many of the robot's numbers in their order, or their names.
        cameras: By key, the robot's camera.
        size: Height and width of pictures as they are sent [pixels].
        channels: Whether these are the first or the last axis of a picture.
        nested: Whether a slash in a key leads into a map.
        prompt: Key of what is to be done.
        actions: How many the server answers with per step, or the robot's names of them; None where it is not known.
        rate: Of the actions [Hz]; None where it is not known.
    """

    state: dict[_Name, _Numbers]
    cameras: dict[_Name, _Name] = {}
    size: tuple[_Size, _Size] = (224, 224)
    channels: Literal["first", "last"] = "last"
    nested: bool = False
    prompt: _Name = "prompt"
    actions: _Numbers | None = None
    rate: Annotated[float, Meta(gt=0, le=1e6)] | None = None

    def check(self, robot: PolicySpec) -> None:
        """Raise `SpecError` unless a robot has what the server is to be told, and takes what it answers.

        Args:
            robot: What it sees and takes; its horizon is not looked at.
        """
        names, counts = robot.observation_names, [each for each in self.state.values() if isinstance(each, int)]
        for key, each in self.state.items():
            missing = [] if isinstance(each, int) else [name for name in each if name not in names]
            if missing:
                raise SpecError(f"a layout with {missing[0]!r} in {key!r}", f"some of {_some(names)}", _YOURS)
        if counts and (len(counts) < len(self.state) or sum(counts) != len(names)):
            raise SpecError(
                f"a layout for {sum(counts)} numbers of the state in their order",
                f"all {len(names)} of the robot, or names: {_some(names)}",
                _YOURS,
            )
        for key, name in self.cameras.items():
            if name not in robot.cameras:
                raise SpecError(
                    f"a layout whose {key!r} is the camera {name!r}", f"one of {_some(tuple(robot.cameras))}", _YOURS
                )
        takes = robot.action_names
        if isinstance(self.actions, int) and self.actions != len(takes):
            raise SpecError(f"a layout for {self.actions} actions", f"{len(takes)}: {_some(takes)}", _YOURS)
        if isinstance(self.actions, tuple):
            check_names("action", self.actions, takes, "a layout", "the robot", _YOURS)
        if self.rate is not None and abs(self.rate * robot.dt - 1) > _SAME_RATE:
            raise SpecError(
                f"a run at {1 / robot.dt:g} Hz", f"{self.rate:g} Hz, for which the layout's actions are",
                "run at the rate of the policy's demonstrations (--rate), or correct the rate of the layout",
            )  # fmt: skip

    def example(self, rate: float) -> PolicySpec:
        """A robot that has what the layout asks for, to try a server with.

        Args:
            rate: [Hz]
        """
        names = tuple(f"state {i}" for i in range(sum(each for each in self.state.values() if isinstance(each, int))))
        named = [name for each in self.state.values() if isinstance(each, tuple) for name in each]
        return PolicySpec(
            1, 1 / rate, names or tuple(dict.fromkeys(named)), names_of(self.actions or 1),
            cameras=dict.fromkeys(self.cameras.values(), self.size),
        )  # fmt: skip

    def message(self, names: tuple[str, ...], observed: Observed, prompt: str = "") -> dict[str, Any]:
        """What is seen, as the server is told.

        Args:
            names: Of the robot's state.
            observed: A state, or with cameras an `Observation`, which were checked.
            prompt: What is to be done, where the observation does not say it.
        """
        state, told, at = np.asarray(state_of(observed), np.float32), {}, 0
        for key, each in self.state.items():
            where = range(at, at + each) if isinstance(each, int) else [names.index(name) for name in each]
            at += len(where)
            self._put(told, key, frames.marker(state[list(where)]))
        for key, name in self.cameras.items():
            assert isinstance(observed, Observation)
            picture = resized(observed.pictures[name], self.size)
            self._put(told, key, frames.marker(picture if self.channels == "last" else picture.transpose(2, 0, 1)))
        said = (observed.prompt if isinstance(observed, Observation) else "") or prompt
        if said:
            self._put(told, self.prompt, said)
        return told

    def _put(self, message: dict[str, Any], key: str, value: Any) -> None:
        *outer, last = key.split("/") if self.nested else [key]
        for part in outer:
            message = message.setdefault(part, {})
        message[last] = value


def names_of(actions: int | tuple[str, ...]) -> tuple[str, ...]:
    """Names of actions, or as many as there are."""
    return tuple(f"action {i}" for i in range(actions)) if isinstance(actions, int) else actions


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:16]) + (" ..." if len(names) > 16 else "") or "none"


def layout(name: str) -> Layout:
    """A layout that is shipped, by its name, or that of a TOML file.

    Raises:
        SpecError: There is no such layout or file, or something else is in it.
    """
    file = _SHIPPED / f"{name}.toml" if name in LAYOUTS else Path(name)
    change = f"give one of {', '.join(LAYOUTS)}, or a file as segue/links/layouts has them"
    if not file.exists():
        raise SpecError(f"layout {name!r}", f"one of {', '.join(LAYOUTS)}, or a TOML file", change)
    foreign.regular(file, SpecError, _LARGEST_FILE)
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Layout)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # a text that is no TOML is a ValueError
        raise SpecError(f"{file}: {str(error)[:300]}", "state, cameras, size and so on, as in TOML", change) from error


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture in another size, its shape kept, in the middle of black, as openpi's clients send them.

    Each pixel is a mean of those around its place, weighted by a triangle as wide as the pictures' ratio. Pillow is six
    times as fast, and taken where it is installed; it differs by one level at most.

    Args:
        picture: Shape (height, width, 3).
        size: Height and width [pixels].
    """
    if picture.shape[:2] == tuple(size):
        return picture
    ratio = max(picture.shape[0] / size[0], picture.shape[1] / size[1])
    height, width = (max(int(length / ratio), 1) for length in picture.shape[:2])
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    padded = np.zeros((*size, 3), np.uint8)
    padded[top : top + height, left : left + width] = _shrunk(picture, height, width)
    return padded


def _shrunk(picture: Picture, height: int, width: int) -> Picture:
    with suppress(ImportError):
        from PIL import Image

        small = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small)
    lines = _weighted(picture, *_taps(picture.shape[0], height))  # whole lines first: they lie together
    small = _weighted(lines.transpose(1, 0, 2), *_taps(picture.shape[1], width)).transpose(1, 0, 2)
    return np.rint(small).astype(np.uint8)


def _weighted(lines: NDArray[Any], at: NDArray[np.intp], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of lines (length, other, 3) along their first axis. Shape (out, other, 3)."""
    mean = np.zeros((len(at), *lines.shape[1:]), np.float32)
    for places, share in zip(at.T, weights.T, strict=True):
        mean += share[:, None, None] * lines[places]
    return mean


@lru_cache(maxsize=64)
def _taps(length: int, out: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Of which pixels of a line each pixel of a line of another length is the mean, and with which weights.

    Both of shape (out, taps).
    """
    step = length / out
    reach, middle = max(step, 1.0), (np.arange(out) + 0.5) * step
    at = np.floor(middle - reach).astype(np.intp)[:, None] + np.arange(int(2 * reach) + 2)
    weights = np.clip(1 - np.abs(at + 0.5 - middle[:, None]) / reach, 0, None) * ((at >= 0) & (at < length))
    return np.clip(at, 0, length - 1), (weights / weights.sum(1, keepdims=True)).astype(np.float32)
