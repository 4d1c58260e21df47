"""A robot of your own: an arm of two joints, as `segue run --robot my_arm:MyArm` drives it.

Replace what is done to `self.position` by calls of your robot's library, and everything else stays.

    python examples/my_arm.py [file of demonstrations to write]
"""

import sys

import numpy as np

from segue.learn import Episodes, save_episodes
from segue.robot import Array, Dimensions, RobotSpec

JOINTS = ("shoulder", "elbow")


class MyArm:
    """Position targets at 50 Hz; it goes half of the way to them in every step."""

    spec = RobotSpec(
        name="my arm", dt=0.02, observation_names=JOINTS, action_names=JOINTS, command="position",
        action_low=np.array([-2, -2], np.float32), action_high=np.array([2, 2], np.float32),
        pose_names=("shoulder [rad]", "elbow [rad]"), action_kinds=Dimensions.of("linear:rad", "linear:rad"),
    )  # fmt: skip

    def __init__(self) -> None:
        self.position = np.zeros(2)

    def observe(self) -> Array:
        """The joints' angles."""
        return self.position.astype(np.float32)

    def send(self, action: Array) -> None:
        """A target for the next step."""
        self.position = self.position + 0.5 * (self.spec.clip(action) - self.position)

    def hold(self) -> None:
        """A position target is kept by the robot itself."""

    def stop(self) -> None:
        """Your robot's own stop; it may be called twice."""


if __name__ == "__main__":  # a script stands in for a teleoperator
    seen, commanded, rng = [], [], np.random.default_rng(0)
    for frequency in rng.uniform(0.5, 1.0, 12):
        arm = MyArm()
        for step in range(80):
            commanded.append(0.8 * np.sin(2 * np.pi * frequency * step * arm.spec.dt) * np.array([1.0, -0.5]))
            seen.append(arm.observe())
            arm.send(commanded[-1])
    episodes = Episodes(
        observation=np.array(seen), action=np.array(commanded, np.float32), ends=80 * np.arange(1, 13), dt=0.02,
        observation_names=JOINTS, action_names=JOINTS, state_of_action=(0, 1), source="a script",
    )  # fmt: skip
    if len(sys.argv) > 1:
        save_episodes(episodes, sys.argv[1])
    print(len(episodes), "demonstrations")
