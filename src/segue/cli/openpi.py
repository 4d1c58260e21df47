"""A server of openpi for a robot: what the policy process is told, checked before it is started."""

from segue.cli import policy_process
from segue.core.robot import RobotSpec
from segue.core.spec import PolicySpec
from segue.links.layouts import layout


def source_for(
    robot: RobotSpec, dt: float, url: str, arrangement: str, method: str, prompt: str
) -> policy_process.Source:
    """What the policy process is told to build.

    Args:
        robot: Is driven.
        dt: Control period of the run [s].
        url: Of the server.
        arrangement: Name or file of a layout.
        method: Works around finished chunks.
        prompt: What is to be done.

    Raises:
        SpecError: There is no such layout, or it is not for this robot.
    """
    sees = sees_and_takes(robot, dt)
    layout(arrangement).check(sees)
    return policy_process.openpi(url, arrangement, sees, method, prompt)


def sees_and_takes(robot: RobotSpec, dt: float) -> PolicySpec:
    """A policy for a robot, of chunks of one action: its server will say how long they are."""
    return PolicySpec(
        1, dt, robot.observation_names, robot.action_names, robot.cameras, robot.kinds, robot.observation_kinds
    )
