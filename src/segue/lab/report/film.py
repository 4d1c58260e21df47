"""The same seed under several methods, side by side as a short film."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.core.robot import Simulator
from segue.lab.delays import Fixed
from segue.lab.report.video import side_by_side
from segue.lab.rollout import Timing, rollout
from segue.lab.sweep import FIRST_SEED, scales
from segue.lab.tasks.around import Around
from segue.lab.tasks.tasks import task
from segue.methods.load import chunk_policy
from segue.methods.methods import Method

PICTURES_PER_SECOND = 10


class Filmed(Around[Simulator]):
    """A simulator that keeps a picture every few control steps."""

    def __init__(self, simulator: Simulator, every: int) -> None:
        super().__init__(simulator)
        self._every, self._steps = every, 0
        self.pictures: list[NDArray[np.uint8]] = []

    def reset(self, seed: int) -> None:
        """Start an episode and a film."""
        super().reset(seed)
        self._steps, self.pictures = 0, [self._simulator.frame()]

    def send(self, action: NDArray) -> None:
        """One control step."""
        super().send(action)
        self._film()

    def hold(self) -> None:
        """One control step without an action."""
        super().hold()
        self._film()

    def _film(self) -> None:
        self._steps += 1
        if self._steps % self._every == 0:
            self.pictures.append(self._simulator.frame())


def film(name: str, run: Path, methods: Sequence[Method], delay: int, execution_horizon: int) -> bytes:
    """One episode of each method on the same seed, as an animated WebP at real speed.

    Args:
        name: Task.
        run: Trained policies.
        methods: From left to right.
        delay: Fixed inference delay [steps].
        execution_horizon: s at zero delay.

    Raises:
        SegueError: Nothing on this machine can render, or a policy is missing.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")
    settings = task(name)
    policies = [chunk_policy(run, method)[0] for method in methods]
    every = max(round(1 / settings.dt / PICTURES_PER_SECOND), 1)
    pictures = {}
    for method, policy in zip(methods, policies, strict=True):
        steps = max(execution_horizon, delay)
        timing = Timing(policy.spec.horizon, steps, Fixed(delay), method.handover, settings.max_steps)
        filmed = Filmed(settings.simulator(), every)
        rollout(policy, [filmed], [FIRST_SEED], timing, scales(name))
        pictures[method.label] = filmed.pictures
    return side_by_side(pictures, fps=1 / settings.dt / every)
