"""Human demonstrations that come with the package; origin and licence lie beside each file in ``bundled_files``."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.data.episodes import Episodes, load

FILES = Path(__file__).parent / "bundled_files"

# Corners of the T in the frame of its body [px]: the bar (4), then the stem (4). The body's origin lies in the middle
# of the bar's far edge, and positions in the recordings are positions of that origin.
T_CORNERS = np.array(
    [(-60, 0), (60, 0), (60, 30), (-60, 30), (-15, 30), (15, 30), (15, 120), (-15, 120)], dtype=np.float64
)
PUSH_T_OBSERVATION = ("agent x", "agent y", *(f"corner {i} {axis}" for i in range(len(T_CORNERS)) for axis in "xy"))
PUSH_T_ACTION = ("agent target x", "agent target y")

ADROIT_JOINTS = (
    *("ARTz", "ARRx", "ARRy", "ARRz", "WRJ1", "WRJ0"),
    *(f"{finger}J{i}" for finger in ("FF", "MF", "RF") for i in (3, 2, 1, 0)),
    *(f"{finger}J{i}" for finger in ("LF", "TH") for i in (4, 3, 2, 1, 0)),
)
ADROIT_DOOR_OBSERVATION = (
    *ADROIT_JOINTS[1:],
    "latch",
    "door hinge",
    *(f"palm {axis}" for axis in "xyz"),
    *(f"handle {axis}" for axis in "xyz"),
    *(f"handle to palm {axis}" for axis in "xyz"),
    "door open",
)


def adroit_door() -> Episodes:
    """Opening a door with a 28-joint hand: 25 human episodes at 100 Hz (arXiv 1709.10087), recorded in simulation.

    Observation (39,): joint angles without the first [rad], latch and hinge angle [rad], palm, handle and their
    difference [m], 1 or -1 for a door that is open or not. Action (28,): target of each joint, -1 and 1 being the
    limits of its actuator; recorded values beyond them are clipped, as the simulator would.
    """
    episodes = load(FILES / "adroit_door" / "demonstrations.npz")
    return replace(episodes, action=np.clip(episodes.action, -1, 1))


def push_t() -> Episodes:
    """Pushing a T onto its mark: 206 human episodes at 10 Hz (arXiv 2303.04137), recorded in simulation.

    Lengths are pixels of the 512 x 512 board, which has no size in metres. Observation (18,): the agent, then the
    eight corners of the T. Action (2,): where the agent is to go, to be learned relative to where it is.
    """
    recorded = load(FILES / "push_t" / "demonstrations.npz")
    return replace(
        recorded,
        observation=push_t_observation(recorded.observation),
        observation_names=PUSH_T_OBSERVATION,
        state_of_action=(0, 1),
    )


def push_t_states() -> NDArray[np.float32]:
    """The recorded states behind `push_t`: agent x, y, block x, y [px], block angle [rad]. Shape (frames, 5)."""
    return load(FILES / "push_t" / "demonstrations.npz").observation


def push_t_observation(state: NDArray) -> NDArray[np.float32]:
    """Agent and corners of the T from (agent x, y, block x, y [px], block angle [rad]).

    Corners instead of the angle, which jumps where it wraps.

    Args:
        state: Shape (..., 5).

    Returns:
        Shape (..., 18), px.
    """
    state = np.asarray(state, np.float64)
    agent, block, angle = state[..., :2], state[..., 2:4], state[..., 4:]
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = T_CORNERS.T
    corners = np.stack([cos * x - sin * y + block[..., :1], sin * x + cos * y + block[..., 1:]], axis=-1)
    return np.concatenate([agent, corners.reshape(*state.shape[:-1], -1)], axis=-1).astype(np.float32)
