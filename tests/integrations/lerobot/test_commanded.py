"""The state of the takeover as it is commanded, of observations in LeRobot's words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.point_mass import demonstrations
from segue.core.chunk import Array, Continuation
from segue.core.observation import Observation
from segue.core.spec import PolicySpec
from segue.data.episodes import Episodes
from segue.errors import DataError, SpecError
from segue.integrations.lerobot.commanded import InParts, check_commands, commanded_state
from segue.integrations.lerobot.policies.units import STATE
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy

JOINTS = ("a.pos", "b.pos", "c.pos")
PREFIX = np.arange(12, dtype=np.float32).reshape(6, 2) + 100
CONTINUATION = Continuation(4, PREFIX, 3, 4)
TOP = "observation.images.top"


@given(st.permutations(JOINTS), st.permutations((*JOINTS, "force")), st.integers(0, 5))
def test_equal_names_are_targets_in_whatever_order_they_stand(actions: list[str], states: list[str], d: int) -> None:
    found = commanded_state(states, actions)
    now, commands = np.arange(4.0)[None], 10 + np.arange(15, dtype=np.float32).reshape(1, 5, 3)
    then = found.ahead(now, commands, np.array([d]))[0]
    for i, name in enumerate(states):
        moved = d > 0 and name in actions
        assert then[i] == (commands[0, d - 1, actions.index(name)] if moved else now[0, i])


def test_what_is_given_is_taken_and_nothing_else() -> None:
    found = commanded_state(("x", "y", "grip"), ("x", "open"), targets={"open": "grip"})
    assert found == CommandedState({1: 2})
    moved = commanded_state(("x", "y"), ("dx", "y"), targets={"y": "y"}, displacements={"dx": "x"})
    commands = np.array([[[0.5, 7.0], [0.25, 8.0], [9.0, 9.0]]], np.float32)
    assert moved.ahead(np.array([[1.0, 2.0]]), commands, np.array([2])).tolist() == [[1.75, 8.0]]


@pytest.mark.parametrize(
    ("states", "actions", "given", "match"),
    [
        (("state 0", "state 1"), ("action 0",), {}, r"no name is in both(.|\n)*targets="),
        (("x",), ("x",), {"targets": {}}, "targets="),
        (("x", "x"), ("x",), {}, "stands there twice"),
        (("x", "y"), ("x",), {"targets": {"x": "z"}}, "'z'"),
        (("x", "y"), ("x",), {"targets": {"y": "y"}}, "action 'y'"),
        (("x", "y"), ("p", "q"), {"targets": {"p": "x", "q": "x"}}, "two actions that command 'x'"),
        (("x", "y"), ("p", "q"), {"targets": {"p": "x"}, "displacements": {"p": "y"}}, "'p' as a target and as"),
    ],
)
def test_nothing_is_guessed(states: Any, actions: Any, given: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        commanded_state(states, actions, **given)


class Recording:
    """A chunk policy that keeps what it was asked; its actions count on from a thousand."""

    spec = PolicySpec(6, 0.1, ("x", "y"), ("x", "y"))

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Continuation]] = []

    def next_chunk(self, observation: Any, continuation: Continuation) -> Array:
        self.asked.append((observation, continuation))
        return 1000 + np.arange(12, dtype=np.float32).reshape(6, 2)

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing is held."""


PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
STATE_NOW = np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize("in_parts", [True, False])
def test_parts_of_an_observation_are_shown_with_the_state_of_the_takeover(in_parts: bool) -> None:
    inside = Recording()
    policy = PredictivePolicy(inside, InParts(commanded_state(("x", "y"), ("y", "x"))))
    seen: Any = Observation(STATE_NOW, {"top": PICTURE}, "go")
    if in_parts:
        seen = {STATE: STATE_NOW, TOP: PICTURE, "task": "go"}
    chunk = policy.next_chunk(seen, CONTINUATION)
    shown, continuation = inside.asked[0]
    state, picture, told = (
        (shown[STATE], shown[TOP], shown["task"]) if in_parts else (shown.state, shown.pictures["top"], shown.prompt)
    )
    np.testing.assert_array_equal(state, PREFIX[2, ::-1])
    np.testing.assert_array_equal(picture, PICTURE)
    assert told == "go"
    assert (continuation.start, continuation.delay, continuation.known) == (7, 0, 3)
    np.testing.assert_array_equal(chunk[:3], PREFIX[:3])
    np.testing.assert_array_equal(chunk[3:], 1000 + np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(STATE_NOW, [1, 2])


def test_a_first_chunk_is_made_of_what_is_seen() -> None:
    inside = Recording()
    policy = PredictivePolicy(inside, InParts(commanded_state(("x", "y"), ("x", "y"))))
    seen = {STATE: STATE_NOW, "task": "go"}
    policy.next_chunk(seen, replace(CONTINUATION, delay=0))
    np.testing.assert_array_equal(inside.asked[0][0][STATE], STATE_NOW)


@pytest.mark.parametrize(
    ("seen", "match"),
    [({TOP: PICTURE}, "observation of observation.images.top"), ({STATE: np.zeros((2, 2))}, "shape")],
)
def test_an_observation_without_one_present_state_says_so(seen: dict[str, Any], match: str) -> None:
    policy = PredictivePolicy(Recording(), InParts(commanded_state(("x", "y"), ("x", "y"))))
    with pytest.raises(SpecError, match=match):
        policy.next_chunk(seen, CONTINUATION)


def walked(displacements: bool) -> Episodes:
    """Two walks around (3, 5); what was commanded is the next state, or the way to it."""
    rng = np.random.default_rng(0)
    state = np.array([3.0, 5.0]) + 0.1 * np.cumsum(rng.standard_normal((2, 31, 2)), axis=1)
    commanded = np.diff(state, axis=1) if displacements else state[:, 1:]
    base = demonstrations(lengths=(30, 30))
    return replace(
        base, observation=state[:, :-1].reshape(-1, 2).astype(np.float32), observation_names=("x", "y"),
        action=commanded.reshape(-1, 2).astype(np.float32), action_names=("x", "y"), state_of_action=(None, None),
    )  # fmt: skip


def test_displacements_under_the_names_of_positions_are_noticed() -> None:
    same_names = commanded_state(("x", "y"), ("x", "y"))
    added = commanded_state(("x", "y"), ("x", "y"), displacements={"x": "x", "y": "y"})
    check_commands(same_names, walked(displacements=False))
    check_commands(added, walked(displacements=True))
    with pytest.raises(DataError, match="name it under displacements"):
        check_commands(same_names, walked(displacements=True))
    with pytest.raises(DataError, match="a displacement: at most"):
        check_commands(added, walked(displacements=False))


def test_a_number_that_never_moves_says_nothing_and_one_frame_is_no_evidence() -> None:
    still = walked(displacements=True)
    still = replace(still, observation=np.full_like(still.observation, 4.0))
    check_commands(commanded_state(("x", "y"), ("x", "y")), still)
    one = replace(still, observation=still.observation[:1], action=still.action[:1], ends=np.array([1]))
    with pytest.raises(DataError, match="episodes of one frame"):
        check_commands(commanded_state(("x", "y"), ("x", "y")), one)
