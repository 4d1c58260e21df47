r"""Peeling, a task of Segue's own: scrape the skin off the upper side of a cylinder, 60 Hz.

robosuite's Panda (arXiv 2009.12293) with its wiping tool as the blade. The cylinder, of radius 16 cm, lies across the
table and is more than half sunk in it. The tool sweeps around it, its sole tangential to the surface, so that position
and tilt have to change together:

                 tool
                ___|___
            .-''   |   ''-.        z
          .'       |       '.      |
    -----/---------|---------\---  +-- x, away from the robot; y along the cylinder
                 axis

A piece of skin is removed once it lies under the sole (the rule of robosuite's Wipe, in which the sole may sink in only
as far as the arm presses it) and the surface presses back with 3 to 100 N.
"""

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Array
from segue.lab.tasks.contact import panda
from segue.lab.tasks.contact.contact import ContactTask, Frame, Touch
from segue.lab.tasks.contact.demonstrations import task_of
from segue.lab.tasks.contact.panda import FLAT, STIFF, Vector

NAME = "peeling"
DT = 1 / 60  # [s]
TABLE = np.array([0.5, 0.8, 0.05])  # full size [m]
CENTRE = np.array([0.15, 0.0, 0.84])  # of the cylinder's axis on average, in the world [m]
PLACE = np.array([0.03, 0.05, 0.0])  # how far from there it may lie [m]
RADIUS, LENGTH = 0.16, 0.3  # [m]
FORCE = (3.0, 100.0)  # [N]
SKIN = (-np.pi / 18, np.pi / 6)  # tilts between which there is skin [rad]; the arm's wrist turns no farther to itself
BANDS, ROWS, COLUMNS = 2, 20, 6  # pieces of skin: bands along the cylinder, rows around it and columns in each of them
BAND = 0.11  # width of a band, a little less than that of the tool [m]


class Cylinder:
    """A cylinder with skin on it, as a surface: see `segue.lab.tasks.contact.contact.Surface`."""

    name, dt, substeps, camera = NAME, DT, 8, "sideview"
    joints = np.array([0.0, 0.48, 0.0, -2.174, 0.0, 2.654, 0.785])
    frame = Frame(CENTRE, np.eye(3))
    low, high = np.array([-0.15, -0.18, 0.1, -0.5]), np.array([0.2, 0.18, 0.25, 0.8])
    needed, speed, depth, slack = 0.95, (0.03, 0.05), (0.0008, 0.0012), 0.002
    points: Vector

    def begin(self, model: Any, generator: np.random.Generator) -> None:
        """Lay the cylinder down."""
        self._place = generator.uniform(-PLACE, PLACE)
        self.points = skin() + self._place
        model.body("cylinder").pos = CENTRE + self._place
        self.show(model, np.zeros(len(self.points), bool))

    def rotation(self, action: Array) -> Vector:
        """Tilted about the cylinder's axis. Shape (3, 3)."""
        cosine, sine = np.cos(action[3]), np.sin(action[3])
        return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]) @ FLAT

    def tilt(self, rotation: Vector) -> tuple[float, ...]:
        """Of the tool about the cylinder's axis [rad]."""
        return (float(np.arctan2(-rotation[0, 2], -rotation[2, 2])),)

    def works(self, touch: Touch) -> NDArray[np.bool_]:
        """What lies under the blade, if it presses as it should. Shape (points,)."""
        return touch.covers(self.points) & (FORCE[0] < touch.force < FORCE[1])

    def strokes(self, done: NDArray[np.bool_]) -> list[Vector]:
        """Once around each band on which skin is left, to and fro."""
        angles = np.linspace(*SKIN, 4 * ROWS)
        around = RADIUS * np.column_stack([np.sin(angles), np.zeros(len(angles)), np.cos(angles)]) + self._place
        left = np.flatnonzero(~done.reshape(BANDS, -1).all(axis=1))
        ways = [np.column_stack([around + np.array([0, middle, 0]), angles]) for middle in _middles()[left]]
        return [way[:: (-1) ** k] for k, way in enumerate(ways)]

    def show(self, model: Any, done: NDArray[np.bool_]) -> None:
        """Removed skin disappears."""
        for k, removed in enumerate(done):
            model.geom(f"skin{k}").rgba[3] = 0.0 if removed else 1.0


def model() -> Any:
    """The MuJoCo model of the arm and what it works on, see `segue.lab.tasks.contact.panda.compiled`."""
    return panda.compiled(NAME, _arena, TABLE[0])


def simulator(kp: float = STIFF) -> ContactTask:
    """The task, with an arm of some stiffness [1/s^2]."""
    return ContactTask(Cylinder(), model(), kp)


def skin() -> Vector:
    """The pieces of skin in the cylinder's frame, band by band and each row by row [m]. Shape (points, 3)."""
    step = BAND / COLUMNS
    columns = np.linspace(-BAND + step, BAND - step, COLUMNS) / 2
    band, angle, column = np.meshgrid(_middles(), np.linspace(*SKIN, ROWS), columns, indexing="ij")
    return np.stack([RADIUS * np.sin(angle), band + column, RADIUS * np.cos(angle)], axis=-1).reshape(-1, 3)


def _middles() -> Vector:
    return BAND * (np.arange(BANDS, dtype=np.float64) - (BANDS - 1) / 2)


def _arena() -> Any:
    from robosuite.models.arenas import TableArena

    arena: Any = TableArena(table_full_size=TABLE, table_offset=(0.15, 0, 0.9))
    arena.set_origin([0, 0, 0])
    body = ElementTree.SubElement(arena.worldbody, "body", name="cylinder", pos=panda.text(CENTRE))
    shape = {"type": "cylinder", "size": panda.text([RADIUS, LENGTH / 2]), "zaxis": "0 1 0", "group": "1"}
    ElementTree.SubElement(body, "geom", shape, friction="0.03 0.005 0.0001", rgba="0.9 0.95 0.7 1")
    for k, point in enumerate(skin()):
        piece = {"type": "sphere", "size": "0.004", "contype": "0", "conaffinity": "0", "group": "1"}
        ElementTree.SubElement(body, "geom", piece, name=f"skin{k}", pos=panda.text(point), rgba="0.2 0.5 0.2 1")
    return arena


TASK = task_of(
    simulator,
    name=NAME,
    summary="Segue's own: peel a cylinder with a stiff Panda (kp 4000); 100 scripted demonstrations at 60 Hz",
    dt=DT,
    max_steps=1000,
)
