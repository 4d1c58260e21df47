"""What strategies, units and training make of dimensions of every kind: the same motion in other words is the same."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segue.core.chunk import Continuation
from segue.core.dimensions import LINEAR, Dimensions
from segue.core.spec import PolicySpec
from segue.data.episodes import Episodes, load, save
from segue.errors import DataError, SpecError
from segue.links.card import Card, decode_card, encode_card
from segue.links.process import hello_from_line
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy, prefix_of
from segue.policies.families import blank, config_for, description, policy_for
from segue.policies.processor import NormalizedUnits, demonstrated_chunks
from segue.strategies.blend import CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.flow import Step
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.legato import Legato
from segue.strategies.literal_legato import LiteralLegato
from segue.strategies.reuse_then_refine import Anchor, ReuseThenRefine, Window
from segue.strategies.rtc import RTC, identity

AVERAGES = (TemporalEnsembling(), WeightedBlend(), CrossFade(), Legato(fade=0.7))
H = 8


class Fixed:
    """A policy that says one chunk."""

    def __init__(self, chunk: np.ndarray, *kinds: str) -> None:
        self.chunk = np.asarray(chunk, np.float32)
        names = tuple(f"a{i}" for i in range(self.chunk.shape[1]))
        self.spec = PolicySpec(H, 0.02, ("q",), names, action_kinds=Dimensions.of(*kinds))

    def next_chunk(self, observation: object, continuation: Continuation) -> np.ndarray:
        return self.chunk

    def reset(self) -> None: ...

    def close(self) -> None: ...


def finished(how: Strategy, old: np.ndarray, new: np.ndarray, *kinds: str) -> np.ndarray:
    """The new chunk, finished by a strategy that knows six steps of an old one."""
    continuation = Continuation(4, np.asarray(old[:6], np.float32), 1, 4, np.ones(6, np.int64))
    return FinishedPolicy(Fixed(new, *kinds), how).next_chunk(np.zeros(1, np.float32), continuation)


@pytest.mark.parametrize("how", AVERAGES)
@pytest.mark.parametrize(("kind", "turn"), [("angle", 2 * np.pi), ("angle:360", 360.0), ("angle:1", 1.0)])
def test_a_mean_of_two_angles_lies_between_them(how: Strategy, kind: str, turn: float) -> None:
    old, new = np.full((H, 1), 0.498 * turn), np.full((H, 1), -0.498 * turn)
    mixed = finished(how, old, new, kind)
    off = Dimensions.of(kind).difference(mixed, np.full((H, 1), turn / 2))
    assert np.abs(off).max() <= 0.0021 * turn
    shifted = finished(how, old - turn, new, kind)
    np.testing.assert_allclose(Dimensions.of(kind).difference(mixed, shifted), 0, atol=1e-5 * turn)
    np.testing.assert_array_equal(mixed[6:], np.float32(new[6:]))


@pytest.mark.parametrize("how", AVERAGES)
def test_nothing_lies_between_open_and_closed(how: Strategy) -> None:
    mixed = finished(how, np.zeros((H, 1)), np.ones((H, 1)), "binary")
    assert set(mixed.flatten().tolist()) <= {0.0, 1.0}
    assert (mixed[1:] == 1).all(), "the newest, but for what is committed"


@pytest.mark.parametrize("how", AVERAGES)
def test_a_mean_of_two_rotations_is_one_near_both_whatever_their_sign(how: Strategy) -> None:
    def turned(angle: float, sign: float) -> np.ndarray:
        return np.tile(sign * np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]), (H, 1))

    kinds = ["quaternion"] * 4
    one = finished(how, turned(0.1, -1), turned(0.2, 1), *kinds)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    angle = 2 * np.arctan2(one[:, 3], one[:, 0])
    assert ((angle > 0.1 - 1e-5) & (angle < 0.2 + 1e-5)).all()
    columns = finished(
        how, np.tile([1.0, 0, 0, 0, 1, 0], (H, 1)), np.tile([0, 1.0, 0, -1, 0, 0], (H, 1)), *["rotation-6d"] * 6
    )
    np.testing.assert_allclose(np.linalg.norm(columns[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((columns[:, :3] * columns[:, 3:]).sum(1), 0, atol=1e-6)


@pytest.mark.parametrize("adjustments", [(), (Anchor(),), (Window(3),)])
def test_reuse_and_refine_sees_no_jump_at_a_seam_of_the_circle(adjustments: tuple) -> None:
    seen: list[Tensor] = []

    def refine(actions: Tensor) -> Tensor:
        seen.append(actions)
        return actions + 0.01

    old = np.stack([np.full(H, 3.13), np.zeros(H)], axis=1)
    new = np.stack([np.full(H, -3.13), np.ones(H)], axis=1)
    chunk = finished(ReuseThenRefine(refine, adjustments=adjustments), old, new, "angle", "binary")
    assert np.ptp(seen[0][..., 0].numpy()) < 0.03
    assert np.ptp(chunk[:, 0]) < 0.05
    assert set(chunk[:, 1].tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("how", [Legato(gain=1.0), RTC(jacobian=identity), LiteralLegato(steps=2)])
def test_guidance_pulls_the_shorter_way_round(how: Strategy) -> None:
    def velocity(reference: float, kinds: Dimensions) -> Tensor:
        known = torch.tensor([4])
        prefix = Prefix(
            torch.full((1, 4, 1), reference), known, known // 2, torch.ones((1, 4), dtype=torch.int64), kinds=kinds
        )
        x = torch.full((1, 4, 1), -3.1)
        return how.hooks(prefix).guide(lambda x, t: torch.zeros_like(x), x, Step(0.0, 0.5, last=False))

    turned = velocity(3.1, Dimensions.of("angle"))
    torch.testing.assert_close(turned, velocity(3.1 - 2 * np.pi, LINEAR), atol=1e-4, rtol=0)
    assert turned.abs().max() < 1


def steady(wrapped: bool, kind: str, count: int = 2, steps: int = 400) -> Episodes:
    """A wrist that turns round and round."""
    angle = np.linspace(0, 4 * np.pi, steps)
    values = ((angle + np.pi) % (2 * np.pi) - np.pi if wrapped else angle).astype(np.float32)
    both = np.stack([values, np.cos(angle).astype(np.float32)], axis=1)
    kinds = Dimensions.of(kind, "linear")
    return Episodes(
        np.tile(both, (count, 1)), np.tile(both, (count, 1)), steps * np.arange(1, count + 1), 0.02,
        ("wrist", "x"), ("wrist", "x"), (0, None), "made", action_kinds=kinds, observation_kinds=kinds,
    )  # fmt: skip


def test_relative_actions_of_a_steady_turn_are_small_however_it_was_recorded() -> None:
    plain = demonstrated_chunks(steady(False, "linear"), 16, (0, None))
    turned = demonstrated_chunks(steady(True, "angle"), 16, (0, None))
    np.testing.assert_allclose(turned, plain, atol=1e-5)
    assert np.abs(turned[..., 0]).max() < 0.6
    assert np.abs(demonstrated_chunks(steady(True, "linear"), 16, (0, None))[..., 0]).max() > 6


@pytest.mark.parametrize("relative", [True, False])
def test_a_policy_learns_and_says_the_same_however_its_demonstrations_describe_it(relative: bool) -> None:
    def units(episodes: Episodes):
        torch.manual_seed(0)
        policy = policy_for(
            config_for("flow", episodes, horizon=H, relative=relative, network_settings={"width": 8}), episodes
        )
        assert isinstance(policy.units, NormalizedUnits)
        return policy.units

    episodes = steady(True, "angle")
    found = units(episodes)
    seen = torch.tensor([[3.1, 0.5], [-0.4, 0.2]])
    actions = torch.zeros(2, H, 2)
    actions[..., 0] = seen[:, :1] + torch.linspace(0, 0.3, H)
    wrapped = actions.clone()
    wrapped[..., 0] = torch.remainder(actions[..., 0] + np.pi, 2 * np.pi) - np.pi
    chunk = found.to_policy(wrapped, seen)
    torch.testing.assert_close(chunk, found.to_policy(actions + torch.tensor([4 * np.pi, 0]), seen), atol=1e-4, rtol=0)
    steps = chunk.diff(dim=1)[..., 0]
    assert steps.std(unbiased=False) < 1e-3, "a path without a jump"
    back = Dimensions.of("angle", "linear").difference(found.to_robot(chunk, seen), actions)
    torch.testing.assert_close(back, torch.zeros_like(back), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.encode(seen), found.encode(seen + torch.tensor([2 * np.pi, 0])), atol=1e-4, rtol=0)
    if relative:
        spread = found.action.scale[0]
        assert spread < 0.5


def test_a_policy_keeps_its_kinds_in_checkpoints_and_old_ones_are_linear() -> None:
    episodes = steady(True, "angle")
    policy = policy_for(config_for("flow", episodes, horizon=H, network_settings={"width": 8}), episodes)
    described = json.loads(json.dumps(description(policy)))
    again = blank(described)
    assert json.loads(json.dumps(description(again))) == described
    spec = ContinuingPolicy(again, Legato()).spec
    assert spec.action_kinds == episodes.action_kinds == spec.observation_kinds
    period = 2 * np.pi / float(policy.units.action.scale[0])  # type: ignore[union-attr]
    prefix = prefix_of(policy, torch.zeros(1, 2), [Continuation(0, np.zeros((2, 2), np.float32), 0, 4)])
    assert prefix.kinds.angles[0][1] == pytest.approx(period)
    plain = policy_for(
        config_for("flow", steady(False, "linear"), horizon=H, network_settings={"width": 8}), steady(False, "linear")
    )
    assert prefix_of(plain, torch.zeros(1, 2), [Continuation(0, np.zeros((2, 2), np.float32), 0, 4)]).kinds == LINEAR
    described = json.loads(json.dumps(description(plain)))
    del described["policy"]["action_kinds"], described["policy"]["observation_kinds"]
    assert blank(described).spec == plain.spec


def test_what_is_no_number_on_a_line_is_not_learned_relative_to_a_state() -> None:
    def anchors(*kinds: str) -> Sequence[int | None]:
        episodes = steady(True, "linear")
        return config_for(
            "flow",
            replace(episodes, state_of_action=(0, 1), action_kinds=Dimensions.of(*kinds)),
            horizon=H,
            relative=True,
        ).relative_to

    assert anchors("angle", "gripper") == (0, 1)
    assert anchors("binary", "velocity") == (None, None)


def test_kinds_go_over_the_wire_and_into_the_policys_process_and_back() -> None:
    spec = Fixed(np.zeros((H, 3)), "angle:360", "binary", "linear").spec
    spec = replace(spec, observation_kinds=Dimensions.of("velocity"))
    card = decode_card(encode_card(Card(spec)))
    assert card is not None
    assert card.spec == spec
    card.spec.check_same(spec, "")
    with pytest.raises(SpecError, match="action_kinds"):
        spec.check_same(replace(spec, action_kinds=LINEAR), "")
    line = {"spec": spec.said(), "handover": "continue", "inference": 0.01}
    assert hello_from_line(json.dumps(line).encode()).spec == spec
    del line["spec"]["action_kinds"], line["spec"]["observation_kinds"]
    assert hello_from_line(json.dumps(line).encode()).spec.action_kinds == LINEAR


def test_kinds_are_kept_in_a_file_of_demonstrations_and_looked_at(tmp_path) -> None:
    episodes = steady(True, "angle:6.0")
    save(episodes, tmp_path / "a.npz")
    assert load(tmp_path / "a.npz").action_kinds == episodes.action_kinds == load(tmp_path / "a.npz").observation_kinds
    with pytest.raises(DataError, match="1 action kinds for 2"):
        replace(episodes, action_kinds=Dimensions.of("angle"))
    arrays = dict(np.load(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", **{**arrays, "action_kinds": np.array(["angel", "linear"])})
    with pytest.raises(DataError, match="angel"):
        load(tmp_path / "b.npz")


def test_kinds_are_kept_in_a_data_set_of_lerobot(tmp_path) -> None:
    pytest.importorskip("pyarrow")
    from segue.data import files
    from segue.data.lerobot import writer

    episodes = replace(steady(True, "angle"), dt=0.05)
    place = writer.save(episodes, tmp_path / "set", task="turn")
    ours = tmp_path / "set" / "meta" / "segue.json"
    read = files.load(place)
    assert (read.action_kinds, read.observation_kinds) == (episodes.action_kinds, episodes.observation_kinds)
    assert read.state_of_action == episodes.state_of_action
    ours.write_text('{"action_kinds": ["binary", "linear"]}')
    assert files.load(place).action_kinds == Dimensions.of("binary", "linear")
    assert files.load(place).state_of_action == (0, 1)
    ours.write_text('{"action_kinds": ["angel", "linear"]}')
    with pytest.raises(DataError, match=r"docs/dimensions\.md"):
        files.load(place)


def test_a_policy_is_refused_by_a_robot_that_takes_something_else() -> None:
    names = ("arm", "base")
    robot = Dimensions.of("linear", "velocity")
    for fits in (LINEAR, robot):
        fits.check_fits(robot, names)
    with pytest.raises(SpecError, match=r"'base' as displacement(.|\n)*velocity, as the robot"):
        Dimensions.of("linear", "displacement").check_fits(robot, names)
    with pytest.raises(SpecError, match="'arm' as angle"):
        Dimensions.of("angle", "velocity").check_fits(robot, names)
