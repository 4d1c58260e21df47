"""A simulator around another one, of which the inner one does all that is not written anew."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Observed
from segue.core.robot import Outcome, RobotSpec, Simulator

Inner = TypeVar("Inner", bound=Simulator)


class Around(Generic[Inner]):
    """Hands everything on to the simulator inside. A base: whoever derives from it says what is different.

    Args:
        simulator: The one inside.
    """

    def __init__(self, simulator: Inner) -> None:
        self._simulator = simulator
        self.spec: RobotSpec = simulator.spec

    def reset(self, seed: int) -> None:
        """Start an episode."""
        self._simulator.reset(seed)

    def observe(self) -> Observed:
        """Return what is measured now."""
        return self._simulator.observe()

    def send(self, action: NDArray) -> None:
        """Execute an action for one control step."""
        self._simulator.send(action)

    def hold(self) -> None:
        """Let one control step pass without an action."""
        self._simulator.hold()

    def stop(self) -> None:
        """End the motion."""
        self._simulator.stop()

    def pose(self) -> NDArray[np.float64]:
        """Return the measured motion. Shape (pose,)."""
        return self._simulator.pose()

    def outcome(self) -> Outcome:
        """Say how the episode went so far."""
        return self._simulator.outcome()

    def frame(self) -> NDArray[np.uint8]:
        """Return a picture. Shape (height, width, 3)."""
        return self._simulator.frame()
