"""What a task is: a simulator, its demonstrations, the times that go with them, and what its actions command."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.core.dimensions import LINEAR, SIZES, Dimensions, KindName, kind
from segue.core.robot import Simulator
from segue.core.smoothness import Array, Real
from segue.data.episodes import Episodes
from segue.errors import SpecError


@dataclass(frozen=True)
class Group:
    """Action dimensions that are measured together.

    Attributes:
        name: For people.
        dimensions: Indices of the action dimensions.
        unit: Of the physical quantity.
        kind: What all of them are, see `segue.core.dimensions`; angles are in radians once they are scaled. Of
            displacements the sum since the start of the chunk is measured.
        scale: How much of the unit one robot unit is, one for all or one per dimension.
    """

    name: str
    dimensions: tuple[int, ...]
    unit: str
    kind: KindName = "linear"
    scale: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        size = SIZES.get(self.kind)
        if not self.dimensions or (size is not None and len(self.dimensions) != size):
            raise SpecError(
                got=f"group {self.name!r} of kind {self.kind} with {len(self.dimensions)} dimensions",
                expected=f"{size or 'at least one'} dimensions",
                change="name the dimensions of one quantity",
            )

    def of(self, actions: Real) -> Array:
        """The group's path in its unit. (..., steps, action) -> (..., steps, dimensions), float64."""
        path = np.asarray(actions, np.float64)[..., list(self.dimensions)] * np.asarray(self.scale)
        return np.cumsum(path, axis=-2) if self.kind == "displacement" else path

    @property
    def kinds(self) -> Dimensions:
        """Of the path that `of` gives; a sum of displacements is a position."""
        return LINEAR if self.kind == "displacement" else Dimensions((kind(self.kind),) * len(self.dimensions))


def groups_by_kind(simulator: Simulator) -> tuple[Group, ...]:
    """The motion in robot units, a group for each kind; angles in radians."""
    spec = simulator.spec
    kinds = spec.kinds.each(len(spec.action_names))
    found = dict.fromkeys(kinds[index] for index in spec.motion)
    return tuple(
        Group(
            "motion" if len(found) == 1 else f"motion, {kind}",
            tuple(index for index in spec.motion if kinds[index] == kind),
            "rad" if kind.period else "robot units",
            kind.name,
            scale=2 * np.pi / kind.period if kind.period else 1.0,
        )
        for kind in found
    )


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: As in `segue.lab.tasks.tasks.task`.
        summary: One line for people.
        dt: Control period [s].
        max_steps: After so many control steps an episode has failed.
        horizon: H, actions per chunk, unless asked otherwise.
        execution_horizon: s, steps executed from a chunk at zero delay, unless asked otherwise.
        simulator: Makes a new simulator.
        demonstrations: Reads, or makes, the demonstrations.
        groups: Makes, of the simulator, the physical quantities that the actions command, the one that says most about
            the motion first; unless it is said, the motion in its own units.
        code: Classes and functions from outside of Segue that decide what happens in an episode; results that are kept
            are not used again once their code has changed.
    """

    name: str
    summary: str
    dt: float
    max_steps: int
    horizon: int
    execution_horizon: int
    simulator: Callable[[], Simulator]
    demonstrations: Callable[[], Episodes]
    groups: Callable[[Any], tuple[Group, ...]] = groups_by_kind
    code: tuple[Callable[..., Any], ...] = ()
