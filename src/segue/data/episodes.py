"""Demonstrations as arrays, and the one file layout in which they are kept.

A file is a NumPy ``.npz`` archive without pickled objects:

    observation        (frames, observation) float     frames of all episodes, one episode after the other
    action             (frames, action) float          robot units; what was commanded on seeing that observation
    episode_ends       (episodes,) int                 exclusive end frame of each episode
    dt                 () float                        control period [s]
    observation_names  (observation,) str              optional
    action_names       (action,) str                   optional
    state_of_action    (action,) int                   optional; index of the observation that measures the same
                                                       quantity as the action, -1 for none
    action_kinds       (action,) str                   optional; linear, angle, ... (`segue.core.dimensions`)
    observation_kinds  (observation,) str              optional
    source             () str                          optional; where it comes from, licence
    instructions       (instructions,) str             optional; what the robot was told, in words; with
    instruction        (frames,) int                   which of them each frame has
    robot_type         () str                          optional; the robot
    pictures/NAME      (frames, height, width, 3) uint8    optional; what a camera saw, red green blue

Other keys are not read. Pictures that are stored without compression, as `save` does it, stay in the file until they
are needed.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.observation import Cameras, Observed, seen
from segue.data import archive
from segue.data.choice import Choice
from segue.data.origin import Instructions, Origin
from segue.data.pictures import PREFIX, Pictures, add
from segue.data.same_unit import check_units
from segue.errors import DataError, SpecError


@dataclass(frozen=True, eq=False)
class Episodes:
    """Demonstrations, the frames of all episodes one after the other.

    Attributes:
        observation: Shape (frames, observation), float32.
        action: Shape (frames, action), float32, robot units.
        ends: Shape (episodes,), int64: exclusive end frame of each episode, increasing, the last one equal to frames.
        dt: Control period [s].
        observation_names: One name per observation dimension.
        action_names: One name per action dimension.
        state_of_action: Per action dimension, the index of the observation that measures the same quantity in the
            same unit, so that the action can be learned relative to it; None where there is no such observation.
        source: Where the demonstrations come from and under which licence.
        pictures: What each camera saw, by its name; a picture per frame.
        instructions: What the robot was told in each frame; None where that is not known.
        origin: What is known of them beside that.
        action_kinds: What each action dimension is.
        observation_kinds: What each observation dimension is.

    Raises:
        DataError: The parts do not fit together, or a value is not finite.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    ends: NDArray[np.int64]
    dt: float
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    state_of_action: tuple[int | None, ...]
    source: str
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    instructions: Instructions | None = None
    origin: Origin = field(default_factory=Origin)
    action_kinds: Dimensions = LINEAR
    observation_kinds: Dimensions = LINEAR

    def __post_init__(self) -> None:
        _check_frames("observation", self.observation)
        _check_frames("action", self.action)
        _check_ends(self.ends, len(self.observation), len(self.action))
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise DataError(f"dt = {self.dt}", "a positive control period in seconds", "store 1 / rate as `dt`")
        _check_names("observation", self.observation_names, self.observation.shape[1])
        _check_names("action", self.action_names, self.action.shape[1])
        _check_state_of_action(self.state_of_action, self.action.shape[1], self.observation.shape[1])
        _check_kinds("observation", self.observation_kinds, self.observation_names)
        _check_kinds("action", self.action_kinds, self.action_names)
        kinds, names = (self.action_kinds, self.action_names), (self.observation_kinds, self.observation_names)
        check_units(*kinds, *names, self.state_of_action)
        for name, values, dimensions, _ in reversed(self.sides):
            self._check_finite(name, values, dimensions)
        for name, pictures in self.pictures.items():
            if len(pictures) != self.frames:
                raise DataError(
                    f"{len(pictures)} pictures of {name!r} for {self.frames} frames",
                    "a picture per frame",
                    "repeat the last picture where a camera is slower than the robot",
                )
        if self.instructions is not None:
            self.instructions.check(self.frames)

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.ends)

    @property
    def sides(self) -> tuple[tuple[str, NDArray[np.float32], tuple[str, ...], Dimensions], ...]:
        """Name, values, names and kinds of the dimensions, of actions and of observations."""
        return (
            ("action", self.action, self.action_names, self.action_kinds),
            ("observation", self.observation, self.observation_names, self.observation_kinds),
        )

    @property
    def starts(self) -> NDArray[np.int64]:
        """First frame of each episode. Shape (episodes,)."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])

    @property
    def frames(self) -> int:
        """Number of frames of all episodes together."""
        return len(self.observation)

    @property
    def cameras(self) -> Cameras:
        """Height and width of each camera's pictures [pixels]."""
        return {name: each.size for name, each in self.pictures.items()}

    def observed(self, index: Any) -> Observed:
        """Gather what was seen at a frame, or at many: the state, with pictures if there are any."""
        return seen(self.observation[index], {name: each[index] for name, each in self.pictures.items()})

    def episode(self, index: int) -> "Episodes":
        """Take one episode by itself; a negative index counts from the end."""
        if not -len(self) <= index < len(self):
            raise DataError(
                f"episode {index} of {len(self)}", f"an index below {len(self)}", "count the episodes with len()"
            )
        return self.select([index % len(self)])

    def select(self, indices: list[int] | NDArray[np.int64]) -> "Episodes":
        """Take the named episodes, in that order."""
        if len(indices) == 0:
            raise DataError("no episode selected", "at least one index", "name the episodes that are to be kept")
        spans = [(int(self.starts[i]), int(self.ends[i])) for i in indices]
        rows = np.concatenate([np.arange(start, end) for start, end in spans])
        return self.cut(rows, [end - start for start, end in spans], self.action[rows])

    def cut(self, rows: NDArray[np.int64], lengths: Sequence[int], action: NDArray[np.float32]) -> "Episodes":
        """Take these frames as episodes of these lengths, with an action for each."""
        return replace(
            self,
            observation=self.observation[rows],
            action=action,
            ends=np.cumsum(lengths, dtype=np.int64),
            pictures={name: each.select(rows) for name, each in self.pictures.items()},
            instructions=None if self.instructions is None else self.instructions.select(rows),
        )

    def __iter__(self) -> Iterator["Episodes"]:
        return (self.episode(index) for index in range(len(self)))

    def split(self, held_out: int | float, seed: int) -> tuple["Episodes", "Episodes"]:
        """Split by whole episodes, so that no held-out frame has a neighbour in training.

        Args:
            held_out: Number of episodes (int), or their fraction (float, rounded, at least one episode).
            seed: Chooses which.

        Returns:
            (train, held out), each in recorded order.

        Raises:
            DataError: One of the two would be empty.
        """
        count = held_out if isinstance(held_out, int) else max(1, round(held_out * len(self)))
        if not 1 <= count < len(self):
            raise DataError(
                f"{count} of {len(self)} episodes held out",
                "at least one episode on each side",
                "give a smaller number or fraction, or more episodes",
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(np.sort(order[count:])), self.select(np.sort(order[:count]))

    def _check_finite(self, name: str, values: NDArray[np.float32], dimensions: tuple[str, ...]) -> None:
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            frame, dimension = (int(i) for i in wrong[0])
            episode = int(np.searchsorted(self.ends, frame, side="right"))
            raise DataError(
                f"{name} is {values[frame, dimension]} at frame {frame} (episode {episode}, step "
                f"{frame - int(self.starts[episode])}), dimension {dimension} ({dimensions[dimension]!r}); "
                f"{len(wrong)} such values",
                "finite numbers",
                "repair or remove these frames; a gap is best cut into two episodes",
            )


def _check_frames(name: str, values: NDArray) -> None:
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"{name} of shape {values.shape}", f"(frames, {name}), neither empty", "stack the frames")
    if values.dtype != np.float32:
        raise DataError(f"{name} of type {values.dtype}", "float32", f"{name}.astype(np.float32)")


def _check_ends(ends: NDArray, observations: int, actions: int) -> None:
    if observations != actions:
        raise DataError(
            f"{observations} observations and {actions} actions",
            "one action per observation",
            "drop the last observation of each episode if it was recorded after the last action",
        )
    if ends.ndim != 1 or len(ends) == 0 or ends.dtype != np.int64:
        raise DataError(
            f"episode ends of shape {ends.shape} and type {ends.dtype}",
            "(episodes,) of int64, at least one",
            "store the exclusive end frame of each episode",
        )
    not_increasing = np.flatnonzero(np.diff(ends, prepend=0) <= 0)
    if len(not_increasing):
        i = int(not_increasing[0])
        before = "0" if i == 0 else str(int(ends[i - 1]))
        raise DataError(
            f"episode {i} ends at frame {int(ends[i])} and starts at {before}",
            "increasing ends, no empty episode",
            "store cumulative ends, not lengths",
        )
    if ends[-1] != observations:
        raise DataError(
            f"the last episode ends at frame {int(ends[-1])} of {observations}",
            "the end of the last episode to be the number of frames",
            "cut the frames that belong to no episode, or complete the ends",
        )


def _check_names(kind: str, names: tuple[str, ...], size: int) -> None:
    if len(names) != size:
        raise DataError(f"{len(names)} {kind} names for {size} dimensions", "one name each", "complete the names")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{kind} names used twice: {', '.join(twice)}", "one name per dimension", "rename them")


def _check_kinds(what: str, kinds: Dimensions, names: tuple[str, ...]) -> None:
    if kinds.kinds and len(kinds.kinds) != len(names):
        raise DataError(
            f"{len(kinds.kinds)} {what} kinds for {len(names)} dimensions", "one kind each", "complete the kinds"
        )


def _kinds(path: str | Path, arrays: Mapping[str, NDArray], key: str) -> Dimensions:
    try:
        return Dimensions.of(*map(str, np.atleast_1d(arrays.get(key, np.zeros(0, np.str_)))))
    except SpecError as error:
        raise DataError(f"{key} in {path}: {error.got}", error.expected, error.change) from error


def _check_state_of_action(state_of_action: tuple[int | None, ...], actions: int, observations: int) -> None:
    if len(state_of_action) != actions:
        raise DataError(
            f"state_of_action for {len(state_of_action)} dimensions",
            f"one entry for each of the {actions} action dimensions",
            "use None (-1 in a file) where no observation measures the action's quantity",
        )
    outside = [index for index in state_of_action if index is not None and not 0 <= index < observations]
    if outside:
        raise DataError(
            f"state_of_action points at observation {outside[0]}",
            f"an index in [0, {observations})",
            "use None (-1 in a file) where no observation measures the action's quantity",
        )


def load(path: str | Path, *, episodes: Sequence[int] | None = None, skip_bad: bool = False) -> Episodes:
    """Read a file in the layout that is described at the top of this module.

    Args:
        path: The file.
        episodes: Indices of those that are wanted; None for all.
        skip_bad: Leave out episodes with values that are not finite; the notes of the result's origin name them.

    Raises:
        DataError: The file is missing, truncated, holds pickled objects, or its contents do not fit together.
    """
    arrays, choice = archive.read(Path(path)), Choice(episodes, skip_bad)
    archive.check_types(path, arrays)
    with np.errstate(over="ignore"):  # what is beyond the type becomes infinite, and is refused as that
        observation, action = arrays["observation"].astype(np.float32), arrays["action"].astype(np.float32)
    relative = arrays.get("state_of_action", np.full(archive.columns(action), -1))
    with_instructions = "instructions" in arrays and archive.INSTRUCTION in arrays
    found = dict(
        observation=observation,
        action=action,
        ends=arrays["episode_ends"].astype(np.int64),
        dt=float(arrays["dt"].item()),
        observation_names=archive.names(arrays, "observation_names", "observation", archive.columns(observation)),
        action_names=archive.names(arrays, "action_names", "action", archive.columns(action)),
        state_of_action=tuple(None if index < 0 else int(index) for index in np.atleast_1d(relative)),
        source=str(arrays["source"].item()) if "source" in arrays else "",
        pictures={
            key.removeprefix(PREFIX): Pictures.of(value) for key, value in arrays.items() if key.startswith(PREFIX)
        },
        instructions=Instructions(
            tuple(str(each) for each in np.atleast_1d(arrays["instructions"])),
            np.atleast_1d(arrays[archive.INSTRUCTION]).astype(np.int64),
        )
        if with_instructions
        else None,
        action_kinds=_kinds(path, arrays, "action_kinds"),
        observation_kinds=_kinds(path, arrays, "observation_kinds"),
        origin=Origin(robot_type=str(arrays["robot_type"].item()) if "robot_type" in arrays else None),
    )
    return usable(found, choice, str(path))


def usable(parts: dict[str, Any], choice: Choice, where: str) -> Episodes:
    """Make episodes of whole arrays, without those that were not chosen or cannot be used.

    Args:
        parts: The fields of `Episodes`; values need not be finite yet.
        choice: Which are wanted.
        where: Names the recording in an error.

    Raises:
        DataError: As `Episodes`, or nothing is left.
    """
    observation, action, ends = parts["observation"], parts["action"], parts["ends"]
    _check_frames("observation", observation)
    _check_frames("action", action)
    _check_ends(ends, len(observation), len(action))
    kept = choice.finite(ends, observation=observation, action=action)
    choice.some(kept, where)
    if kept == list(range(len(ends))):
        return Episodes(**parts)
    rows = np.concatenate([np.arange(ends[i - 1] if i else 0, ends[i]) for i in kept])
    pictures, told, origin = parts.get("pictures", {}), parts.get("instructions"), parts.get("origin", Origin())
    if told is not None:
        told.check(len(action))
    return Episodes(
        **{
            **parts,
            "observation": observation[rows],
            "action": action[rows],
            "ends": np.cumsum([ends[i] - (ends[i - 1] if i else 0) for i in kept], dtype=np.int64),
            "pictures": {name: each.select(rows) for name, each in pictures.items()},
            "instructions": None if told is None else told.select(rows),
            "origin": replace(origin, notes=(*origin.notes, *choice.notes())),
        }
    )


def save(episodes: Episodes, path: str | Path) -> None:
    """Write the layout that `load` reads; a reader never sees a half-written file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            np.savez_compressed(
                file,
                observation=episodes.observation,
                action=episodes.action,
                episode_ends=episodes.ends,
                dt=np.float64(episodes.dt),
                observation_names=np.array(episodes.observation_names, dtype=np.str_),
                action_names=np.array(episodes.action_names, dtype=np.str_),
                state_of_action=np.array([-1 if i is None else i for i in episodes.state_of_action]),
                source=np.array(episodes.source, dtype=np.str_),
                **_optional(episodes),  # type: ignore[arg-type]
            )
            if episodes.pictures:
                add(file, dict(episodes.pictures))
        # mkstemp makes the file private; give it the permissions that a plain open() would have given
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _optional(episodes: Episodes) -> dict[str, NDArray]:
    """Collect the arrays that only some demonstrations have."""
    told, robot = episodes.instructions, episodes.origin.robot_type
    words = (
        {} if told is None else {"instructions": np.array(told.texts, dtype=np.str_), archive.INSTRUCTION: told.rows}
    )
    kinds = {"action_kinds": episodes.action_kinds, "observation_kinds": episodes.observation_kinds}
    words |= {key: np.array(each.words, dtype=np.str_) for key, each in kinds.items() if each.words}
    return words if robot is None else {**words, "robot_type": np.array(robot, dtype=np.str_)}
