"""What a robot sees: a state vector, and where a policy looks at pictures, those too.

    robot without cameras --> state                             (observation,) float32, an array as it is
    robot with cameras -----> Observation(state, pictures, prompt)    pictures (height, width, 3) uint8 by camera
                                   |
                 stacked(...)      |   many robots: a leading axis on state and pictures
                                   v
    whoever passes it on ------- looks at `state_of` at most
                                   |
    policy.units.encode ---------- turns it into the context, once per inference; takes `Encoded` for an observation

The same class holds arrays outside of a policy and tensors inside. Pictures stay uint8 until they are encoded: as
floats they are four times as large. What there is to see is part of a policy's specification (`PolicySpec.cameras`), so
that a policy without cameras is given plain arrays, and one with cameras is given all of them, checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from segue.errors import SpecError

Array = NDArray[np.float32]
Picture = NDArray[np.uint8]
"""Shape (height, width, 3), red green blue."""
Cameras = Mapping[str, tuple[int, int]]
"""Height and width of each camera's pictures [pixels]."""
Numbers = TypeVar("Numbers", bound=Any)
"""Arrays of NumPy, or tensors of torch."""


@dataclass(frozen=True, eq=False)
class Observation(Generic[Numbers]):
    """State and pictures, of one robot or, with a leading axis on both, of a batch.

    Attributes:
        state: Shape (observation,) or (batch, observation), robot units.
        pictures: By camera, shape (height, width, 3) or (batch, height, width, 3), uint8.
        prompt: Task in words, for policies that are told; the same for all of a batch.
        ages: How old each picture was when it was handed over, by camera [s]; of one robot, where its driver says so.
    """

    state: Numbers
    pictures: Mapping[str, Numbers] = field(default_factory=dict)
    prompt: str = ""
    ages: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, index: Any) -> "Observation[Numbers]":
        return Observation(
            self.state[index], {name: picture[index] for name, picture in self.pictures.items()}, self.prompt
        )


@dataclass(frozen=True, eq=False)
class Encoded(Generic[Numbers]):
    """The context that a policy's units make of an observation, seen or predicted; no robot shows it.

    `units.encode` takes it in the place of an observation and hands the context on.

    Attributes:
        context: Shape (context,) or (batch, context).
        state: Shape (observation,) or (batch, observation), robot units: what actions are relative to.
    """

    context: Numbers
    state: Numbers

    def __len__(self) -> int:
        return len(self.context)

    def __getitem__(self, index: Any) -> "Encoded[Numbers]":
        return Encoded(self.context[index], self.state[index])


Observed = Array | Observation[Any]
"""A state, or a state with pictures."""


def state_of(observed: Any) -> Any:
    """Return the state, an array or tensor, of what is observed or encoded."""
    return observed.state if isinstance(observed, Observation | Encoded) else observed


def ages_of(observed: Any) -> NDArray[np.float64] | None:
    """How old the pictures are, shape (cameras,), in their order [s]; None where nobody says so."""
    ages = observed.ages if isinstance(observed, Observation) else None
    return np.array(list(ages.values())) if ages else None


def with_state(observed: Any, state: Any) -> Any:
    """Replace the state of what is observed; pictures and prompt stay."""
    return replace(observed, state=state) if isinstance(observed, Observation) else state


def stacked(observed: Sequence[Observed | Encoded[Any]]) -> Observed | Encoded[Any]:
    """Make a batch of what several robots see; encoded where all of it is.

    Raises:
        SpecError: Cameras or prompts differ, or some are encoded and others not.
    """
    encoded = [each for each in observed if isinstance(each, Encoded)]
    if encoded and len(encoded) == len(observed):
        return Encoded(np.stack([each.context for each in encoded]), np.stack([each.state for each in encoded]))
    seen = [each for each in observed if isinstance(each, Observation)]
    if not seen and not encoded:
        return np.stack([state_of(each) for each in observed])
    names = list(seen[0].pictures) if seen else []
    if len(seen) < len(observed) or any(list(each.pictures) != names or each.prompt != seen[0].prompt for each in seen):
        raise SpecError(
            got="observations of different cameras or prompts, or only some of them encoded",
            expected="the same of all robots that are asked about together",
            change="ask for them in separate calls",
        )
    pictures = {name: np.stack([each.pictures[name] for each in seen]) for name in names}
    return Observation(np.stack([each.state for each in seen]), pictures, seen[0].prompt)


def check_pictures(observed: Any, cameras: Cameras) -> None:
    """Raise `SpecError` unless the pictures of all cameras are there, in their sizes; further ones are ignored."""
    pictures = observed.pictures if isinstance(observed, Observation) else {}
    for name, size in cameras.items():
        if name not in pictures:
            raise SpecError(
                got=f"no picture of {name!r}" + (f"; there are {', '.join(pictures)}" if pictures else ""),
                expected=f"an `Observation` with pictures of {', '.join(cameras)}",
                change="give the policy the cameras that it was trained with, under the same names",
            )
        picture = pictures[name]
        if tuple(picture.shape[-3:]) != (*size, 3) or not str(picture.dtype).endswith("uint8"):
            raise SpecError(
                got=f"pictures {name!r} of shape {tuple(picture.shape)} and type {picture.dtype}",
                expected=f"uint8 of shape (..., {size[0]}, {size[1]}, 3), as the policy was trained with",
                change="crop or resize them at the camera, and keep the bytes of red, green and blue",
            )


def seen(state: Any, pictures: Mapping[str, Any]) -> Any:
    """Join a state and its pictures; without pictures, return the state itself."""
    return Observation(state, pictures) if pictures else state


def blank(size: int, cameras: Cameras) -> Observed:
    """Return an observation of zeros, to warm up with: a state of this size and black pictures."""
    pictures = {name: np.zeros((*each, 3), np.uint8) for name, each in cameras.items()}
    return seen(np.zeros(size, np.float32), pictures)
