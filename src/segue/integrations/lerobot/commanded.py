r"""The robot's state as it is commanded, of observations in LeRobot's words: what its policies see at the takeover.

    observation.state    x.pos   y.pos   gripper.pos    force        names that the data set gives
    action               x.pos   y.pos   grip
                           |       |        |
    commanded_state      by equal names   targets={"grip": "gripper.pos"}; the force stays as it is seen

Which action commands which number of the state is what equal names say, or what is given, and nothing else: a policy
that is shown a wrong state moves the robot there. `check_commands` compares with demonstrations, for equal names are no
proof: actions may be displacements that bear the names of positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.chunk import Array
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import DataError, SpecError
from segue.integrations.lerobot.policies.units import STATE
from segue.policies.predictors.predictor import CommandedState, Predictor

EXAMPLE = 'targets={"name of an action": "name of the number of the state that it is a target for"}'
TARGET_ERROR = 0.5
"""Largest distance of a target from the next state, over the standard deviation of the state."""


def commanded_state(
    observation_names: Sequence[str],
    action_names: Sequence[str],
    *,
    targets: Mapping[str, str] | None = None,
    displacements: Mapping[str, str] | None = None,
) -> CommandedState:
    """Which number of the state each action commands, by names.

    Args:
        observation_names: One per number of the state, such as ``meta.features["observation.state"]["names"]``.
        action_names: One per action dimension.
        targets: Name of a number of the state by that of the action that is a target for it, in the same unit. Without
            this and ``displacements``: those of equal names.
        displacements: The same, of actions that are added to the number in every step.

    Raises:
        SpecError: A name that does not exist or stands twice, a number that two actions command, or none at all.
    """
    by_name = targets is None and displacements is None
    if by_name:
        targets = {name: name for name in action_names if name in observation_names}
    if not targets and not displacements:
        raise SpecError(
            got=f"actions {_some(action_names)}, and a state of {_some(observation_names)}"
            + (": no name is in both" if by_name else ", and none that commands it"),
            expected="which action commands which number of the state",
            change=f"give {EXAMPLE}, displacements for actions that are added to it, or the names of the data set",
        )
    targets, displacements = dict(targets or {}), dict(displacements or {})
    commanded = [*targets.values(), *displacements.values()]
    for name in commanded:
        if commanded.count(name) > 1:
            raise SpecError(
                got=f"two actions that command {name!r}",
                expected="at most one for each number of the state",
                change="leave one of them out of targets and displacements",
            )
    if both := sorted(targets.keys() & displacements.keys()):
        raise SpecError(
            got=f"{both[0]!r} as a target and as a displacement",
            expected="one of them",
            change="keep what the robot's driver makes of the action",
        )
    return CommandedState(
        {_index(action, action_names, "action"): _index(state, observation_names, "state")
         for action, state in targets.items()},
        {_index(action, action_names, "action"): _index(state, observation_names, "state")
         for action, state in displacements.items()},
    )  # fmt: skip


def _index(name: str, names: Sequence[str], what: str) -> int:
    """Where a name stands."""
    found = [i for i, each in enumerate(names) if each == name]
    if len(found) != 1:
        raise SpecError(
            got=f"{what} {name!r}" + (", which stands there twice" if found else ""),
            expected=f"one of {_some(names)}",
            change=f"give {EXAMPLE}, with names that stand there once",
        )
    return found[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") or "nothing"


@dataclass(frozen=True)
class InParts:
    """A predictor of states, of observations in named parts as LeRobot has them; other parts stay as they are seen.

    Observations that are no mapping are left to the predictor.

    Attributes:
        predictor: Of the state.
        state: Name of the part that it predicts.
    """

    predictor: Predictor
    state: str = STATE

    def ahead(self, observed: Any, actions: Array, steps: NDArray[np.int64]) -> Any:
        """See `segue.policies.predictors.predictor.Predictor`.

        Raises:
            SpecError: There is no such part, or it has a time axis: earlier pictures are of earlier states.
        """
        if not isinstance(observed, Mapping):
            return self.predictor.ahead(observed, actions, steps)
        state = observed.get(self.state)
        if state is None or np.ndim(state) != 2:
            raise SpecError(
                got=f"an observation of {_some(sorted(map(str, observed)))}"
                if state is None
                else f"{self.state!r} of shape {np.shape(state)[1:]} for one robot",
                expected=f"{self.state!r} of shape (numbers,), the state of now",
                change="give the present state; a policy that looks back is run without a predictor",
            )
        return {**observed, self.state: self.predictor.ahead(np.asarray(state), actions, steps)}


def check_commands(commanded: CommandedState, episodes: Episodes) -> None:
    """Compare what is said to command the state with what the state did one step later.

    A target is to be nearer to the next state than half of the state's standard deviation, a displacement nearer than
    assuming that nothing moves; root mean square over all steps. Numbers of the state that never change pass.

    Args:
        commanded: Indices into the names of ``episodes``.
        episodes: Demonstrations, such as `segue.data.lerobot.reader.load` reads.

    Raises:
        DataError: No episode has a second frame, or an action is not what it was said to be.
    """
    left = Windows(episodes, 1).remaining[:-1] > 0
    now, then = (each.astype(np.float64)[left] for each in (episodes.observation[:-1], episodes.observation[1:]))
    actions = episodes.action.astype(np.float64)[:-1][left]
    if len(now) == 0:
        raise DataError("episodes of one frame", "at least one that goes on", "record whole episodes")

    def size(values: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.mean(values**2)))

    def apart(one: NDArray[np.float64], other: NDArray[np.float64], state: int) -> float:
        return size(kinds.part((state,)).difference(one[:, None], other[:, None]))

    kinds = episodes.observation_kinds.without_rotations()
    spread = kinds.about_mean(then).std(0)

    for action, state in commanded.replaced.items():
        off, most = apart(actions[:, action], then[:, state], state), TARGET_ERROR * float(spread[state])
        if most > 0 and off > most:
            raise _not_so(episodes, action, state, f"{off:.3g} from it one step later", f"a target: at most {most:.3g}")
    for action, state in commanded.advanced.items():
        moved = apart(then[:, state], now[:, state], state)
        off = apart(now[:, state] + actions[:, action], then[:, state], state)
        if off > moved > 0:
            raise _not_so(episodes, action, state, f"{off:.3g} off when added", f"a displacement: at most {moved:.3g}")


def _not_so(episodes: Episodes, action: int, state: int, got: str, expected: str) -> DataError:
    return DataError(
        got=f"action {episodes.action_names[action]!r} for state {episodes.observation_names[state]!r}: {got}",
        expected=expected,
        change="name it under displacements if it is added to the state, under targets if it is where to go, or leave "
        "it out: the number is then kept as it is seen",
    )
