"""A robot that remembers: what it observed and what it was sent, as episodes."""

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Observed, state_of
from segue.core.robot import Array, RobotSpec, Simulator
from segue.data.episodes import Episodes
from segue.data.pictures import Pictures
from segue.errors import DataError
from segue.lab.tasks.around import Around


class Recorder(Around[Simulator]):
    """A simulator between whoever drives it and the task; keeps one frame per control step.

    A frame is the observation before the command, and the command after clipping. A hold repeats the last command
    (for displacements: none but a gripper's), and leaves no frame before the first one.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self._frames: list[tuple[Observed, Array]] = []

    def reset(self, seed: int) -> None:
        """Start an episode, forgetting the one before."""
        super().reset(seed)
        self._frames = []

    def send(self, action: NDArray) -> None:
        """One control step, kept."""
        self._frames.append((self.observe(), self.spec.clip(action)))
        super().send(action)

    def hold(self) -> None:
        """One control step without an action, kept as what it commands."""
        if self._frames:
            self._frames.append((self.observe(), self.spec.held(self._frames[-1][1])))
        super().hold()

    @property
    def frames(self) -> list[tuple[Observed, Array]]:
        """Observation and command of each step of the episode so far."""
        return list(self._frames)


def recorded(spec: RobotSpec, episodes: list[list[tuple[Observed, Array]]], source: str) -> Episodes:
    """Recorded frames as episodes; those without a frame are left out.

    Raises:
        DataError: No episode has a frame.
    """
    kept = [frames for frames in episodes if frames]
    if not kept:
        raise DataError("recordings without a single command", "at least one", "let the robot move first")
    anchors = [
        spec.observation_names.index(name)
        if spec.command == "position" and name in spec.observation_names and index not in spec.kinds.moves
        else None
        for index, name in enumerate(spec.action_names)
    ]
    return Episodes(
        observation=np.stack([state_of(observed) for frames in kept for observed, _ in frames]),
        action=np.stack([action for frames in kept for _, action in frames]),
        ends=np.cumsum([len(frames) for frames in kept], dtype=np.int64),
        dt=spec.dt,
        observation_names=spec.observation_names,
        action_names=spec.action_names,
        state_of_action=tuple(anchors),
        action_kinds=spec.kinds,
        observation_kinds=spec.observation_kinds,
        source=source,
        pictures={
            name: Pictures.of(np.stack([observed.pictures[name] for frames in kept for observed, _ in frames]))  # type: ignore[union-attr]
            for name in spec.cameras
        },
    )
