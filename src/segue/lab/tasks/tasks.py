"""The tasks by name: a simulator, its demonstrations and the times that go with them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from segue.core.robot import Simulator
from segue.data import bundled
from segue.data.episodes import Episodes
from segue.errors import UnknownNameError
from segue.lab.tasks import (
    board_writing,
    contact_demonstrations,
    metaworld,
    metaworld_demonstrations,
    peeling,
    push_t_pixels,
    wipe,
)
from segue.lab.tasks.adroit_door import AdroitDoor
from segue.lab.tasks.push_t import PushT

METAWORLD = "metaworld/"
CONTACT = {module.NAME: module for module in (wipe, board_writing, peeling)}


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: As in `task`.
        summary: One line for people.
        dt: Control period [s].
        max_steps: After so many control steps an episode has failed.
        horizon: H, actions per chunk, unless asked otherwise.
        execution_horizon: s, steps executed from a chunk at zero delay, unless asked otherwise.
        simulator: Makes a new simulator.
        demonstrations: Reads, or makes, the demonstrations.
    """

    name: str
    summary: str
    dt: float
    max_steps: int
    horizon: int
    execution_horizon: int
    simulator: Callable[[], Simulator]
    demonstrations: Callable[[], Episodes]


def names() -> list[str]:
    """All tasks."""
    return ["adroit-door", "push-t", "push-t-pixels", *CONTACT, *(METAWORLD + name for name in metaworld.TASKS)]


def task(name: str) -> Task:
    """A task by its name.

    Raises:
        UnknownNameError: There is no such task; the message lists what exists and the closest name.
    """
    if name not in names():
        raise UnknownNameError("task", name, names())
    if name == "adroit-door":
        return Task(
            name=name,
            summary="open a door with a 28-joint hand; 25 human demonstrations at 100 Hz",
            dt=0.01,
            max_steps=320,
            horizon=32,
            execution_horizon=8,
            simulator=AdroitDoor,
            demonstrations=bundled.adroit_door,
        )
    if name == "push-t":
        return Task(
            name=name,
            summary="push a T onto its mark; 206 human demonstrations at 10 Hz",
            dt=0.1,
            max_steps=300,
            horizon=32,
            execution_horizon=8,
            simulator=PushT,
            demonstrations=bundled.push_t,
        )
    if name == "push-t-pixels":
        return replace(
            task("push-t"),
            name=name,
            summary="push a T onto its mark, seen in pictures; 206 human demonstrations at 10 Hz",
            simulator=push_t_pixels.PushTPixels,
            demonstrations=push_t_pixels.demonstrations,
        )
    if name in CONTACT:
        return _contact(name)
    short = name.removeprefix(METAWORLD)
    return Task(
        name=name,
        summary=f"{short.replace('-', ' ')} with a Sawyer arm; 300 scripted demonstrations at 80 Hz",
        dt=0.0125,
        max_steps=300,
        horizon=32,
        execution_horizon=8,
        simulator=partial(metaworld.MetaWorld, short),
        demonstrations=partial(metaworld_demonstrations.demonstrations, short),
    )


def _contact(name: str) -> Task:
    module = CONTACT[name]
    return Task(
        name=name,
        summary=module.SUMMARY,
        dt=module.DT,
        max_steps=module.MAX_STEPS,
        horizon=48,
        execution_horizon=24,
        simulator=module.simulator,
        demonstrations=partial(contact_demonstrations.demonstrations, module.simulator, name),
    )
