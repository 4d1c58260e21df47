"""Board writing, a task of Segue's own: trace a character on a sloping board with even pressure, 100 Hz.

robosuite's Panda (arXiv 2009.12293) with its wiping tool, whose middle is the pen. A point of the character is written
once the pen is within 4 mm of it while the board presses back with 3 to 60 N: too light leaves no ink, too hard would
break the pen.
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

NAME = "board-writing"
DT = 0.01  # [s]
POINTS = 100  # of a character
PEN = 0.004  # [m], farther away a point is not written
FORCE = (3.0, 60.0)  # [N]
SLOPE = np.deg2rad(15)
CENTRE = np.array([0.15, 0.0, 1.0])  # of the board's surface, in the world [m]
BOARD = np.array([0.3, 0.44, 0.02])  # full size [m]
TABLE = np.array([0.5, 0.8, 0.05])  # under it, full size [m]
HEIGHT = (0.08, 0.12)  # of a character [m]
TURN = 0.3  # [rad], how far a character may be turned
# Single strokes in a square of size 1; upwards is the first axis, away from the robot
STROKES: dict[str, list[tuple[float, float]]] = {
    "-": [(0, -0.5), (0, 0.5)],
    "C": [(0.35, 0.35), (0.5, 0), (0.35, -0.35), (0, -0.5), (-0.35, -0.35), (-0.5, 0), (-0.35, 0.35)],
    "L": [(0.5, -0.4), (-0.5, -0.4), (-0.5, 0.4)],
    "N": [(-0.5, -0.4), (0.5, -0.4), (-0.5, 0.4), (0.5, 0.4)],
    "S": [(0.35, 0.3), (0.5, 0), (0.3, -0.3), (0, 0), (-0.3, 0.3), (-0.5, 0), (-0.35, -0.3)],
    "V": [(0.5, -0.4), (-0.5, 0), (0.5, 0.4)],
    "Z": [(0.5, -0.4), (0.5, 0.4), (-0.5, -0.4), (-0.5, 0.4)],
}

_AXES = np.array([[np.cos(SLOPE), 0, -np.sin(SLOPE)], [0, 1, 0], [np.sin(SLOPE), 0, np.cos(SLOPE)]])


class Board:
    """A board with a character on it, as a surface: see `segue.lab.tasks.contact.contact.Surface`."""

    name, dt, substeps, camera = NAME, DT, 5, "agentview"
    joints = np.array([0.0, 0.47, 0.0, -2.319, 0.0, 3.051, 0.785])
    frame = Frame(CENTRE, _AXES)
    low, high = np.array([-0.13, -0.17, -0.0015]), np.array([0.13, 0.17, 0.12])
    needed, speed, depth, slack = 0.95, (0.05, 0.08), (0.0004, 0.0007), 0.001
    points: Vector

    def begin(self, model: Any, generator: np.random.Generator) -> None:
        """Draw a character, its size, place and turn."""
        self.points = np.column_stack([draw_character(generator), np.zeros(POINTS)])
        for k, point in enumerate(self.points):
            model.geom(f"ink{k}").pos = point
        self.show(model, np.zeros(POINTS, bool))

    def rotation(self, action: Array) -> Vector:
        """Flat on the board. Shape (3, 3)."""
        return FLAT

    def tilt(self, rotation: Vector) -> tuple[float, ...]:
        """The tool does not tilt against the board."""
        return ()

    def works(self, touch: Touch) -> NDArray[np.bool_]:
        """What the pen is on, if it presses as it should. Shape (POINTS,)."""
        near = np.linalg.norm(self.points[:, :2] - touch.position[:2], axis=1) < PEN
        return near & (FORCE[0] < touch.force < FORCE[1])

    def strokes(self, done: NDArray[np.bool_]) -> list[Vector]:
        """From the first to the last point that is left."""
        left = np.flatnonzero(~done)
        return [self.points[left[0] : left[-1] + 1]] if len(left) else []

    def show(self, model: Any, done: NDArray[np.bool_]) -> None:
        """What is written turns from grey to blue."""
        for k, written in enumerate(done):
            model.geom(f"ink{k}").rgba[:] = (0.1, 0.2, 0.8, 1.0) if written else (0.6, 0.6, 0.6, 1.0)


def model() -> Any:
    """The MuJoCo model of the arm and what it works on, see `segue.lab.tasks.contact.panda.compiled`."""
    return panda.compiled(NAME, _arena, TABLE[0])


def simulator(kp: float = STIFF) -> ContactTask:
    """The task, with an arm of some stiffness [1/s^2]."""
    return ContactTask(Board(), model(), kp)


def draw_character(generator: np.random.Generator) -> Vector:
    """Points at even distances along a character [m]. Shape (POINTS, 2)."""
    stroke = np.array(STROKES[str(generator.choice(sorted(STROKES)))]) * generator.uniform(*HEIGHT)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(stroke, axis=0), axis=1))])
    even = np.linspace(0, length[-1], POINTS)
    points = np.column_stack([np.interp(even, length, column) for column in stroke.T])
    turn = generator.uniform(-TURN, TURN)
    turned = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return turned + generator.uniform([-0.03, -0.06], [0.03, 0.06])


def _arena() -> Any:
    from robosuite.models.arenas import TableArena

    arena: Any = TableArena(table_full_size=TABLE, table_offset=(0.15, 0, 0.9))
    arena.set_origin([0, 0, 0])
    body = ElementTree.SubElement(
        arena.worldbody, "body", name="board", pos=panda.text(CENTRE), xyaxes=panda.text(_AXES[:, :2].T.ravel())
    )
    box = {"type": "box", "size": panda.text(BOARD / 2), "pos": panda.text([0, 0, -BOARD[2] / 2]), "group": "1"}
    ElementTree.SubElement(body, "geom", box, name="board", friction="0.03 0.005 0.0001", rgba="0.95 0.95 0.9 1")
    for k in range(POINTS):
        dot = {"type": "cylinder", "size": "0.003 0.0003", "contype": "0", "conaffinity": "0", "group": "1"}
        ElementTree.SubElement(body, "geom", dot, name=f"ink{k}")
    return arena


TASK = task_of(
    simulator,
    name=NAME,
    summary="Segue's own: write on a sloping board with a stiff Panda (kp 4000); 100 scripted demonstrations at 100 Hz",
    dt=DT,
    max_steps=1200,
)
