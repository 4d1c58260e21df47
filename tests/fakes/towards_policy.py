"""The policy of the runs of the tests, which a process of its own makes by its name."""

from dataclasses import replace

import numpy as np

from fakes import point_mass
from segue.core.chunk import Array, Continuation
from segue.core.spec import PolicySpec

FAST = replace(point_mass.SPEC, dt=0.02)
HORIZON = 8
SPEC = PolicySpec(HORIZON, FAST.dt, FAST.observation_names, FAST.action_names)


class Towards:
    """Moves a point mass to its goal; the policy of these tests, run in a process of its own."""

    def __init__(self, speed: float) -> None:
        self.spec, self.speed = SPEC, speed

    def next_chunk(self, observation: Array, continuation: Continuation) -> Array:
        way = np.linspace(0.1, 1, HORIZON, dtype=np.float32)[:, None] * self.speed
        return (observation[:2] + way * (observation[2:] - observation[:2])).astype(np.float32)

    def reset(self) -> None: ...

    def close(self) -> None: ...


def towards(speed: float) -> Towards:
    return Towards(speed)
