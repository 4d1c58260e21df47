"""Finds what would spoil a training without an error, in demonstrations that can be read."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.core.dimensions import SIZES, Dimensions, KindName
from segue.core.smoothness import still
from segue.data.choice import short
from segue.data.episodes import Episodes
from segue.data.proposals import declare
from segue.data.windows import Windows
from segue.errors import DataError
from segue.policies.normalizer import Normalizer

_TAIL = 200
"""One frame in so many may be an outlier."""
_BLOWN = 3.0
"""Outliers make a dimension's standard deviation so many times what it is without them."""
_TURNS = ((2 * np.pi, "rad", "angle"), (360.0, "degrees", "angle:360"))
_UNITS = ((180 / np.pi, ("degrees", "radians")), (1000.0, ("millimetres", "metres")))
_REPEATED = 0.2
"""Share of frames that may repeat the state before them while the action goes on."""
_NEAR = 0.1
"""Share of a turn by which a step may differ from it, and by which values may reach beyond it."""
_RARE = 10.0
"""A step is a wrap if it is so many times as large as the usual one."""
_MAY_STAND: tuple[KindName, ...] = ("binary", "constant", *SIZES)
"""Kinds of which a number may stay what it is: a tool that turns about one axis changes two of four."""


@dataclass(frozen=True)
class Finding:
    """A fault of demonstrations.

    Attributes:
        text: In words, with episode, frame and dimension.
        fatal: True if no policy can be trained at all.
    """

    text: str
    fatal: bool = False


def findings(episodes: Episodes, horizon: int) -> list[Finding]:
    """Find everything that would spoil a training, the fatal first.

    Args:
        episodes: Demonstrations.
        horizon: H of the policy that is to be trained.
    """
    found = [*_lengths(episodes, horizon)]
    for what, values, names, kinds in episodes.sides:
        values = kinds.about_mean(values)
        found += _outliers(episodes, what, values, names, kinds)
        found += _wraps(episodes, what, values, names, kinds)
        found += _standing(episodes, what, values, names, kinds)
    for check in (
        _around, _small, _same_as_state, _other_units, _repeated_frames, _repeated_episodes, _instructions, _unseen,
    ):  # fmt: skip
        found += check(episodes)
    return sorted(found, key=lambda each: not each.fatal)


def check_seen(episodes: Episodes, blind: bool, readable: Sequence[str]) -> None:
    """Raise `DataError` where a policy would be trained without a camera that the demonstrations have.

    Args:
        episodes: As they were read.
        blind: The policy is to see none.
        readable: Cameras whose pictures can be read from this kind of recording.
    """
    unseen = episodes.origin.unseen
    if unseen and not episodes.pictures and not blind:
        raise DataError(
            got=f"{len(unseen)} cameras ({', '.join(unseen)}), none of which the policy would see",
            expected="the cameras that it is to see, or the word that it is to see none",
            change=f"add --cameras {','.join(readable)} (or some of them), or --blind"
            if readable
            else "add --blind; pictures of this kind of recording are read after a conversion to .npz or LeRobot",
        )


def _lengths(episodes: Episodes, horizon: int) -> Iterator[Finding]:
    lengths = np.diff(episodes.ends, prepend=0)
    longest = int(lengths.max())
    single = np.flatnonzero(lengths == 1).tolist()
    if longest == 1:
        yield Finding("no episode has more than one frame: there is no motion to learn", fatal=True)
    elif longest < horizon:
        yield Finding(
            f"no episode is as long as a chunk of {horizon} steps, the longest has {longest}: train with --horizon "
            f"{longest} or less",
            fatal=True,
        )
    elif single:
        yield Finding(f"{len(single)} of {len(episodes)} episodes have one frame only: {short(single)}")


def _place(episodes: Episodes, frame: int) -> str:
    episode = int(np.searchsorted(episodes.ends, frame, side="right"))
    return f"frame {frame} (episode {episode}, step {frame - int(episodes.starts[episode])})"


def _outliers(
    episodes: Episodes, what: str, values: NDArray, names: Sequence[str], kinds: Dimensions
) -> Iterator[Finding]:
    """Dimensions whose range a few frames eat up, so that normalisation leaves nothing of the others."""
    tail = max(1, len(values) // _TAIL)
    if len(values) < 20:
        return
    for index, name in enumerate(names):
        if index in kinds.steps:
            continue
        column = values[:, index].astype(np.float64)
        far = np.abs(column - np.median(column))
        order = np.argsort(far)[::-1]
        whole, rest = float(column.std()), float(column[order[tail:]].std())
        if not whole > _BLOWN * rest:
            continue
        frames = np.sort([frame for frame in order[:tail] if far[frame] > 0.5 * far[order[0]]])
        worst = int(order[0])
        more = f", and in {len(frames) - 1} more like it" if len(frames) > 1 else ""
        yield Finding(
            f"{what} {name!r} is {column[worst]:.6g} in {_place(episodes, worst)}{more}: its standard deviation is "
            f"{whole:.3g}, without that {rest:.3g}; what the other frames do is lost to a policy"
        )


def _wraps(
    episodes: Episodes, what: str, values: NDArray, names: Sequence[str], kinds: Dimensions
) -> Iterator[Finding]:
    """Steps of about a turn in values that reach no further than a turn, of what is not said to turn."""
    inside = _inside(episodes)
    if not len(inside):
        return
    open_to = [each.name == "linear" for each in kinds.each(len(names))]
    for index in map(int, np.flatnonzero(open_to)):
        name = names[index]
        column = values[:, index].astype(np.float64)
        steps = np.abs(np.diff(column))[inside]
        for turn, unit, word in _TURNS:
            jumps = np.flatnonzero(np.abs(steps - turn) < _NEAR * turn)
            if len(jumps) and np.ptp(column) < (1 + _NEAR) * turn and turn > _RARE * np.median(steps):
                yield Finding(
                    f"{what} {name!r} steps by {steps[jumps[0]]:.3g} ({unit}) after "
                    f"{_place(episodes, int(inside[jumps[0]]))}, {len(jumps)} such steps: an angle that wraps is "
                    f"learned and measured as a jump; {declare(name, word)}"
                )
                break
    for first in range(len(names) - 3):
        quaternion = values[:, first : first + 4].astype(np.float64)
        if not all(open_to[first : first + 4]) or not (np.abs(np.linalg.norm(quaternion, axis=1) - 1) < 0.02).all():
            continue
        flips = inside[np.sum(quaternion[inside] * quaternion[inside + 1], axis=1) < -0.5]
        if len(flips):
            yield Finding(
                f"{what} {names[first]!r} to {names[first + 3]!r} change their sign together after "
                f"{_place(episodes, int(flips[0]))}, {len(flips)} times: a quaternion and its negative are the same "
                "orientation; declare these four as quaternion: --kind NAME=quaternion"
            )


def _around(episodes: Episodes) -> Iterator[Finding]:
    """Actions that are about a turn away from the state that they could be learned relative to."""
    action_kinds = episodes.action_kinds.each(len(episodes.action_names))
    state_kinds = episodes.observation_kinds.each(len(episodes.observation_names))
    for action, state in enumerate(episodes.state_of_action):
        if state is None or {action_kinds[action].name, state_kinds[state].name} & {"angle", "quaternion"}:
            continue
        apart = np.abs(episodes.action[:, action].astype(np.float64) - episodes.observation[:, state])
        for turn, unit, word in _TURNS:
            far = np.flatnonzero(np.abs(apart - turn) < _NEAR * turn)
            if len(far) and turn > _RARE * np.median(apart):
                yield Finding(
                    f"action {episodes.action_names[action]!r} and its state are {apart[far[0]]:.3g} ({unit}) apart in "
                    f"{_place(episodes, int(far[0]))}, {len(far)} times: one of them has wrapped, a relative action "
                    f"would be a whole turn; {declare(episodes.action_names[action], word)}"
                )
                break


def _standing(
    episodes: Episodes, what: str, values: NDArray, names: Sequence[str], kinds: Dimensions
) -> Iterator[Finding]:
    quiet = still(values, episodes.ends)
    constant = [name for name, column in zip(names, values.T, strict=True) if np.ptp(column) == 0]
    noisy = [name for name, rests in zip(names, quiet, strict=True) if rests and name not in constant]
    if len(constant) == len(names) and what == "action":
        yield Finding("no action ever changes: there is no motion to learn", fatal=True)
    elif unsaid := [name for name in constant if names.index(name) not in kinds.named(*_MAY_STAND)]:
        yield Finding(f"{what} {_listed(unsaid)} never changes")
    if noisy and len(noisy) < len(names):
        yield Finding(f"{what} {_listed(noisy)} stands still but for noise beside the others")


def _small(episodes: Episodes) -> Iterator[Finding]:
    """Actions that the floor of the normalisation makes small beside the noise of a flow policy, which is 1."""
    actions = episodes.action_kinds.about_mean(episodes.action)
    spread = actions.astype(np.float64).std(0)
    share = spread / Normalizer.fit(actions).scale.numpy().astype(np.float64)
    moves = ~still(actions, episodes.ends) & (spread > 0)
    small = [
        name for name, part, motion in zip(episodes.action_names, share, moves, strict=True) if motion and part < 0.5
    ]
    if small:
        yield Finding(
            f"action {_listed(small)} has a standard deviation below what normalisation adds to it: to a policy it has "
            f"{share[moves].min():.2g} instead of about 1; give it in a smaller unit, such as mm for m"
        )


def _pairs(episodes: Episodes) -> list[tuple[int, int]]:
    """Actions and the states that measure them."""
    return [(action, state) for action, state in enumerate(episodes.state_of_action) if state is not None]


def _inside(episodes: Episodes) -> NDArray[np.int64]:
    """Frames that another one of their episode follows."""
    return np.flatnonzero(Windows(episodes, 1).remaining)


def _same_as_state(episodes: Episodes) -> Iterator[Finding]:
    pairs, inside = _pairs(episodes), _inside(episodes)
    if not pairs or not len(inside):
        return
    acted, seen = (episodes.action[:, [a for a, _ in pairs]], episodes.observation[:, [s for _, s in pairs]])
    if np.array_equal(acted, seen):
        yield Finding(
            "each action that has a state is that state in the same frame: a policy learns to stay where it is; a "
            "command is what the next frames reach"
        )
    elif np.array_equal(acted[inside + 1], seen[inside]):
        yield Finding(
            "each action that has a state is that state in the frame before: a policy learns to go back; actions were "
            "recorded late, or shifted in the wrong direction"
        )


def _other_units(episodes: Episodes) -> Iterator[Finding]:
    """Actions that are another unit's multiple of the states that measure them, in where they are and how they move."""
    for action, state in _pairs(episodes):
        one, other = episodes.action[:, action].astype(np.float64), episodes.observation[:, state].astype(np.float64)
        for factor, units in _UNITS:
            for ratio, words in ((factor, units), (1 / factor, units[::-1])):
                size = np.abs(one - ratio * other).mean() if other.std() > 0 else np.inf
                if size < _NEAR * np.abs(one).mean() and size < one.std():
                    yield Finding(
                        f"action {episodes.action_names[action]!r} is about {ratio:.4g} times its state: it seems to "
                        f"be in {words[0]} and the state in {words[1]}; a relative action would be meaningless"
                    )


def _repeated_frames(episodes: Episodes) -> Iterator[Finding]:
    inside = _inside(episodes)
    if not len(inside):
        return
    same = (episodes.observation[inside + 1] == episodes.observation[inside]).all(1)
    late = same & (episodes.action[inside + 1] != episodes.action[inside]).any(1)
    if late.mean() > _REPEATED:
        yield Finding(
            f"{late.mean():.0%} of the states are those of the frame before while the actions change, first in "
            f"{_place(episodes, int(inside[np.argmax(late)]) + 1)}: the state was recorded more slowly than it is said"
        )


def _repeated_episodes(episodes: Episodes) -> Iterator[Finding]:
    seen, again = dict[bytes, int](), dict[int, int]()
    for index, (start, end) in enumerate(zip(episodes.starts, episodes.ends, strict=True)):
        content = episodes.observation[start:end].tobytes() + episodes.action[start:end].tobytes()
        first = seen.setdefault(hashlib.sha256(content).digest(), index)
        if first != index:
            again[index] = first
    if again:
        index, first = next(iter(again.items()))
        yield Finding(
            f"{len(again)} of {len(episodes)} episodes are there before, number for number: {index} is {first}"
            f"{', and others' if len(again) > 1 else ''}; what is held out to measure may have been learned"
        )


def _instructions(episodes: Episodes) -> Iterator[Finding]:
    told = episodes.instructions
    if told is None or len(told.used) < 2:
        return
    first = told.rows[episodes.starts]
    which = [
        f"{text!r} in episodes {short(np.flatnonzero(first == index).tolist())}"
        for index, text in enumerate(told.texts)
        if (first == index).any()
    ]
    yield Finding(
        f"{len(told.used)} instructions, which a policy does not see, so that it learns their mixture: "
        f"{'; '.join(which[:4])}{' ...' if len(which) > 4 else ''}; choose with --episodes"
    )


def _unseen(episodes: Episodes) -> Iterator[Finding]:
    if episodes.origin.unseen:
        yield Finding(
            f"cameras {', '.join(episodes.origin.unseen)} are not read: a policy sees those that --cameras names; "
            "segue train stops unless it is told --blind"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
