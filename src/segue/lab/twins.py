"""The simulator itself as a predictor: the upper bound of what any predictor can give, and an oracle for tests.

    followed    reset(seed), send, send, hold, send ...        what happens, written down
    twin        reset(seed), send, send, hold, send, | send    the same, and then the committed actions
                                                       ^ what is observed now is where both are

Nothing is copied out of a simulator: a twin is reset to the same seed and does what was done. Where its prediction has
come true, it goes on from there; where not, it starts over.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array
from segue.core.observation import Observed, stacked, state_of
from segue.core.robot import Simulator
from segue.errors import SpecError


class Followed:
    """A simulator that writes down what is done to it, and its twin.

    Args:
        simulator: What happens.
        twin: Another one of the same task.
    """

    def __init__(self, simulator: Simulator, twin: Simulator) -> None:
        self._simulator, self._twin = simulator, twin
        # All else is the simulator's own
        self.spec, self.observe, self.stop = simulator.spec, simulator.observe, simulator.stop
        self.pose, self.outcome, self.frame = simulator.pose, simulator.outcome, simulator.frame
        self._seed, self._done, self._twins = 0, list[Array | None](), list[Array | None]()
        self._twin_began = False

    def reset(self, seed: int) -> None:
        """Start an episode."""
        self._simulator.reset(seed)
        self._seed, self._done, self._twin_began = seed, [], False

    def send(self, action: NDArray) -> None:
        """One control step."""
        self._simulator.send(action)
        self._done.append(np.array(action, np.float32))

    def hold(self) -> None:
        """One control step without an action."""
        self._simulator.hold()
        self._done.append(None)

    def after(self, actions: Array) -> Observed:
        """What will be observed when these actions, shape (steps, action), have been executed from now on."""
        wanted = [*self._done, *actions]
        if not self._twin_began or not _begins_with(wanted, self._twins):
            self._twin.reset(self._seed)
            self._twin_began, self._twins = True, []
        for action in wanted[len(self._twins) :]:
            if action is None:
                self._twin.hold()
            else:
                self._twin.send(action)
        self._twins = wanted
        return self._twin.observe()


def _begins_with(long: Sequence[Array | None], short: Sequence[Array | None]) -> bool:
    return len(short) <= len(long) and all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in zip(short, long, strict=False)
    )


class Twins:
    """A predictor that asks the twin of each simulator, see `segue.policies.predictors.predictor.Predictor`.

    Which simulator an observation is of, is told by the observation itself.

    Args:
        robots: All that may be observed.
    """

    def __init__(self, robots: Sequence[Followed]) -> None:
        self._robots = robots

    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        """What the twins observe.

        Raises:
            SpecError: An observation is of no simulator.
        """
        now = [state_of(robot.observe()) for robot in self._robots]
        found = []
        for i, count in enumerate(steps):
            which = next((j for j, state in enumerate(now) if np.array_equal(state, state_of(observed)[i])), None)
            if which is None:
                raise SpecError(
                    got="an observation that no simulator shows now",
                    expected="observations of the simulators that the oracle was made for",
                    change="give the policy what `observe` of these simulators says",
                )
            found.append(self._robots[which].after(actions[i, :count]) if count else observed[i])
        return stacked(found)
