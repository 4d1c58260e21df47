"""robosuite's Wipe (arXiv 2009.12293): wipe a winding trace of dirt off a table, 60 Hz targets of the tool.

Table, dirt, tool, arm and the rule for what is wiped are robosuite's, as are their sizes; so is success, which is all
100 markers. Ours are the rate (8 physics steps of 1/480 s), the absolute target (x, y, z), the tool that is always told
to lie flat, and the observed state. The stiffness of the arm is fixed: 4000 / s^2, unless another one is asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Array
from segue.lab.tasks.contact import panda
from segue.lab.tasks.contact.contact import ContactTask, Frame, Touch, smoothed
from segue.lab.tasks.contact.demonstrations import task_of
from segue.lab.tasks.contact.panda import FLAT, HOME, STIFF, Vector

NAME = "wipe"
DT = 1 / 60  # [s]
TABLE = np.array([0.5, 0.8, 0.05])  # full size [m]
CENTRE = np.array([0.15, 0.0, 0.9])  # of the table's top, in the world [m]
MARKERS = 100
SPACING = 0.005  # from marker to marker [m]
TRACE = 0.04  # width of the trace [m]
COVERAGE = 0.6  # share of the table, in each direction, on which there may be dirt

_SMOOTHING = 17  # [markers], odd
_TURN_CHANCE, _TURN = 0.3, 0.5  # how often, and by how much [rad], the trace changes its direction


class Table:
    """A table with markers on it, as a surface: see `segue.lab.tasks.contact.contact.Surface`."""

    name, dt, substeps, camera = NAME, DT, 8, "agentview"
    joints, frame = HOME, Frame(CENTRE, np.eye(3))
    # With a target 2 mm below the table the moving tool presses with 50 to 100 N; at 3 mm it tips over
    low, high = np.array([-0.18, -0.23, -0.002]), np.array([0.14, 0.23, 0.25])
    needed, speed, depth, slack = 1.0, (0.08, 0.12), (0.0007, 0.0013), 0.008
    points: Vector

    def begin(self, model: Any, generator: np.random.Generator) -> None:
        """Draw the trace."""
        self.points = np.column_stack([draw_trace(generator), np.zeros(MARKERS)])
        for k, point in enumerate(self.points):
            model.body(f"contact{k}_main").pos = point + np.array([0, 0, TABLE[2] / 2])
        self.show(model, np.zeros(MARKERS, bool))

    def rotation(self, action: Array) -> Vector:
        """Flat on the table. Shape (3, 3)."""
        return FLAT

    def tilt(self, rotation: Vector) -> tuple[float, ...]:
        """The tool does not tilt."""
        return ()

    def works(self, touch: Touch) -> NDArray[np.bool_]:
        """What lies under the tool is wiped. Shape (MARKERS,)."""
        return touch.covers(self.points)

    def strokes(self, done: NDArray[np.bool_]) -> list[Vector]:
        """From the first to the last marker that is left, without the corners that the tool covers anyway."""
        left = np.flatnonzero(~done)
        if not len(left):
            return []
        return [smoothed(self.points, np.hanning(_SMOOTHING))[left[0] : left[-1] + 1]]

    def show(self, model: Any, done: NDArray[np.bool_]) -> None:
        """What is wiped disappears."""
        for k, wiped in enumerate(done):
            model.geom(f"contact{k}_g0_vis").rgba[3] = 0.0 if wiped else 1.0


def model() -> Any:
    """The MuJoCo model of the arm and what it works on, see `segue.lab.tasks.contact.panda.compiled`."""
    return panda.compiled(NAME, _arena, TABLE[0])


def simulator(kp: float = STIFF) -> ContactTask:
    """The task, with an arm of some stiffness [1/s^2]."""
    return ContactTask(Table(), model(), kp)


def draw_trace(generator: np.random.Generator) -> Vector:
    """Positions of the markers: robosuite's random walk, which turns away from the edge [m]. Shape (MARKERS, 2)."""
    limit = COVERAGE * TABLE[:2] / 2 - TRACE / 2
    trace = np.empty((MARKERS, 2))
    trace[0], direction = generator.uniform(-limit, limit), generator.uniform(-np.pi, np.pi)
    for k in range(1, MARKERS):
        if generator.uniform() < _TURN_CHANCE:
            direction += generator.normal(0, _TURN)
        while True:
            trace[k] = trace[k - 1] + SPACING * np.array([np.sin(direction), np.cos(direction)])
            if (abs(trace[k]) < limit).all():
                break
            direction += generator.normal(0, _TURN)
    return trace


def _arena() -> Any:
    from robosuite.models.arenas import WipeArena

    arena = WipeArena(
        table_full_size=TABLE,
        table_friction=(0.03, 0.005, 0.0001),
        table_offset=CENTRE,
        coverage_factor=COVERAGE,
        num_markers=MARKERS,
        line_width=TRACE,
    )
    arena.set_origin([0, 0, 0])
    return arena


TASK = task_of(
    simulator,
    name=NAME,
    summary="robosuite's Wipe: wipe a table with a stiff Panda (kp 4000); 100 scripted demonstrations at 60 Hz",
    dt=DT,
    max_steps=800,
)
