"""A server of openpi as a chunk policy for a robot: what it does not say of itself is learned from its first answer.

    connect --> ask once, at rest: zeros, black pictures --> (horizon, actions) --> a `RemotePolicy` of that size

The first answer may take as long as a network is compiled for. Every later one has the deadline, and the size of the
first. What this decides about a robot's numbers stands in a layout, see `segue.links.layouts`.
"""

from dataclasses import replace
from typing import Any, Final

from segue.core.observation import blank
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.links.client import RemotePolicy
from segue.links.layouts import Layout, names_of

COMPILATION: Final = 240.0
"""Longest time for the first answer [s]."""


def openpi_policy(
    url: str,
    layout: Layout,
    robot: PolicySpec,
    *,
    any_actions: bool = False,
    prompt: str = "",
    token: str | None = None,
    deadline: float = 2.0,
    patience: float = 10.0,
    compilation: float = COMPILATION,
) -> RemotePolicy:
    """Ask a server of openpi once, and make a policy of what it answers.

    Args:
        url: ``ws://host:port`` or ``wss://host:port``.
        layout: How it is told what the robot sees.
        robot: What the robot sees and takes, and its control period; its horizon is not looked at.
        any_actions: Take whatever number of actions it answers with; only to try a server that moves nothing.
        prompt: What is to be done, unless an observation says it.
        token: What the server asks clients to present.
        deadline: Longest time for an answer, connecting included [s].
        patience: Longest time for the first connection [s].
        compilation: Longest time for the first answer [s].

    Raises:
        RemoteError: Nobody answers, or with an error: openpi's servers say with a traceback what they miss.
        WireError: The answer cannot be accepted.
        SpecError: Robot, layout and answer do not fit together, or it is a server of Segue.
    """
    layout.check(robot)
    words: dict[str, Any] = {"layout": layout, "prompt": prompt, "token": token, "patience": patience}
    first = RemotePolicy(url, spec=robot, deadline=compilation, **words)
    try:
        horizon, actions = first.chunk_of_any_size(blank(len(robot.observation_names), robot.cameras)).shape
    finally:
        first.close()
    if any_actions:
        robot = replace(robot, action_names=names_of(actions))
    elif actions != len(robot.action_names):
        raise SpecError(
            got=f"{actions} actions per step from {url}",
            expected=f"{len(robot.action_names)}, as the robot takes: {', '.join(robot.action_names)}",
            change="serve the policy that was trained for this robot",
        )
    return RemotePolicy(url, spec=replace(robot, horizon=horizon), deadline=deadline, **words)
