"""What a policy is, said and read again, and compared with robots and with what a client expects."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.dimensions import LINEAR, Dimensions
from segue.core.robot import RobotSpec
from segue.core.spec import LARGEST, PolicySpec
from segue.errors import SpecError

SPEC = PolicySpec(8, 0.02, ("shoulder", "elbow", "wrist"), ("target shoulder", "target elbow"))
CART = RobotSpec(
    name="a cart", dt=SPEC.dt, observation_names=SPEC.observation_names, action_names=SPEC.action_names,
    action_low=-np.ones(2, np.float32), action_high=np.ones(2, np.float32), command="position", pose_names=("x",),
)  # fmt: skip
SIZES, NAMES = st.integers(1, LARGEST), st.lists(st.text(max_size=8), max_size=5).map(tuple)
KINDS = st.sampled_from(["linear", "linear:mm", "angle", "angle:360", "gripper", "binary", "velocity:m/s", "constant"])


@st.composite
def specs(draw: st.DrawFn) -> PolicySpec:
    seen, done = draw(NAMES), draw(NAMES.filter(len))
    kinds = [Dimensions.of(*(draw(KINDS) for _ in names)) if draw(st.booleans()) else LINEAR for names in (done, seen)]
    cameras = draw(st.dictionaries(st.text(max_size=8), st.tuples(SIZES, SIZES), max_size=3))
    return PolicySpec(draw(SIZES), draw(st.floats(1e-6, 3600)), seen, done, cameras, *kinds)


@given(specs())
def test_what_was_said_is_read_as_it_was(spec: PolicySpec) -> None:
    said = json.loads(json.dumps(spec.said()))
    assert PolicySpec.of(said) == PolicySpec.of({**said, "colour": "green"}) == spec
    spec.check_same(PolicySpec.of(said), "")


def test_who_says_nothing_of_kinds_and_cameras_has_none() -> None:
    said = {"horizon": 8, "dt": 0.02, "observation_names": ["x"], "action_names": ["u"]}
    assert PolicySpec.of(said) == PolicySpec(8, 0.02, ("x",), ("u",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": "8"}, {"horizon": 8.0}, {"horizon": True}, {"horizon": None}, {"dt": "fast"},
        {"action_names": "ab"}, {"action_names": [1, 2]}, {"cameras": {"front": [5]}}, {"cameras": {"front": [5.5, 5]}},
        {"cameras": [5, 5]}, {"action_kinds": 5}, {"action_kinds": [["angle"]]}, {"action_kinds": ["angel", "linear"]},
        {"observation_kinds": ["angle"]},
    ],
)  # fmt: skip
def test_what_a_stranger_says_is_looked_at(wrong: dict[str, Any]) -> None:
    said = SPEC.said()
    PolicySpec.of(said)
    with pytest.raises(SpecError):
        PolicySpec.of(said | wrong)
    with pytest.raises(SpecError, match="of itself"):
        PolicySpec.of({name: value for name, value in said.items() if name != "horizon"})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"horizon": 0}, "horizon of size 0"),
        ({"horizon": LARGEST + 1}, "horizon of size"),
        ({"horizon": 2.5}, "horizon of size 2.5"),
        ({"horizon": True}, "horizon of size True"),
        ({"action_names": ()}, "actions of size 0"),
        ({"observation_names": tuple(map(str, range(LARGEST + 1)))}, "observations"),
        ({"cameras": {"front": (-1, 5)}}, "'front' of size -1"),
        ({"cameras": {str(each): (4, 4) for each in range(65)}}, "65 cameras"),
        ({"action_names": ("a", "b" * 257)}, "257 characters"),
        ({"dt": 0.0}, "0.0 s"),
        ({"dt": float("nan")}, "nan s"),
        ({"dt": float("inf")}, "inf s"),
        ({"action_kinds": Dimensions.of("angle")}, "1 action kinds"),
    ],
)
def test_nobody_makes_room_for_a_policy_that_there_cannot_be(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SpecError, match=named):
        replace(SPEC, **changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action_names": SPEC.action_names[::-1]}, "'target elbow' as action 0"),
        ({"action_names": SPEC.action_names[:1]}, "1 actions\n.*2, as a cart"),
        ({"observation_names": ("shoulder", "elbow", "hand")}, "'hand' as observation 2"),
        ({"cameras": {"front": (4, 5)}}, r"'front', \(4, 5\)(.|\n)*none, as a cart"),
        ({"dt": 0.1}, "10 Hz\n.*50 Hz"),
        ({"action_kinds": Dimensions.of("linear", "angle")}, "commands 'target elbow' as angle"),
        ({"observation_kinds": Dimensions.of("angle", "linear", "linear")}, "sees 'shoulder' as angle"),
    ],
)
def test_fault_8_a_policy_of_another_robot_is_refused(changes: dict[str, Any], named: str) -> None:
    SPEC.check_fits(CART, "")
    replace(SPEC, horizon=9, dt=SPEC.dt + 1e-9).check_fits(CART, "")
    with pytest.raises(SpecError, match=named):
        replace(SPEC, **changes).check_fits(CART, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 9}, "horizon 9"),
        ({"cameras": {"front": (4, 4)}}, r"cameras \{'front': \(4, 4\)\}\n.*none"),
        ({"dt": 0.1}, "dt 0.1"),
        ({"action_names": SPEC.action_names[::-1]}, "'target elbow' as action 0"),
        ({"observation_names": ("shoulder", "elbow")}, "2 observations\n.*3, as the client"),
        ({"observation_names": (*SPEC.observation_names[:2], "hand")}, "'hand'.*\n.*'wrist'"),
        ({"action_kinds": Dimensions.of("angle", "linear")}, "action_kinds .*angle.*\n.*none"),
    ],
)
def test_fault_8_what_differs_between_two_specifications_is_named(change: dict[str, Any], message: str) -> None:
    SPEC.check_same(SPEC, "")
    with pytest.raises(SpecError, match=message):
        replace(SPEC, **change).check_same(SPEC, "")
