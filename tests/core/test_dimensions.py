"""The kinds of dimensions: what is invariant under another description of the same, and plain numbers to the bit."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segue.core.dimensions import LINEAR, Dimensions, Kind, kind
from segue.errors import SpecError

MIXED = Dimensions.of("linear", "angle", "angle:360", *["quaternion"] * 4, "binary", "gripper", *["rotation-6d"] * 6)
ANGLES = Dimensions.of("angle", "angle:360")


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Vectors of mixed kinds. (*shape, 15)"""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(*shape, 15))
    values[..., 1:3] = rng.uniform(-1, 1, (*shape, 2)) * [np.pi, 180]
    values[..., 7] = rng.integers(0, 2, shape)
    return MIXED.proper(values)


def other_words(values: np.ndarray, seed: int) -> np.ndarray:
    """Another description of the same."""
    rng = np.random.default_rng(seed)
    values = values.copy()
    values[..., 1:3] += rng.integers(-3, 4, values[..., 1:3].shape) * [2 * np.pi, 360]
    values[..., 3:7] *= rng.choice([-1, 1], values.shape[:-1])[..., None]
    return values


def same(a: Any, b: Any) -> None:
    np.testing.assert_allclose(MIXED.difference(np.asarray(a), np.asarray(b)), 0, atol=1e-9)


@pytest.mark.parametrize("wrong", ["", "angel", "angle:x", "angle:-1", "angle:0", "angle:inf", "linear:3", "Angle"])
def test_words_that_are_no_kind_are_refused(wrong: str) -> None:
    with pytest.raises(SpecError):
        kind(wrong)


def test_words_are_read_as_they_are_written() -> None:
    assert Dimensions.of(*MIXED.words) == MIXED
    assert MIXED.words[1:3] == ("angle", "angle:360.0")
    assert kind("angle").period == 2 * np.pi
    assert Dimensions.of("linear", "linear") == LINEAR == Dimensions()
    assert LINEAR.words == ()
    assert LINEAR.each(2) == (Kind(), Kind())


def test_a_unit_is_kept_changes_no_arithmetic_and_is_said_by_a_period() -> None:
    words = ("linear:mm", "velocity:m/s", "gripper:%", "angle:360.0", "angle")
    found = Dimensions.of(*words)
    assert found.words == words
    assert Dimensions.of("angle:deg", "angle:rad") == Dimensions.of("angle:360", "angle")
    assert [each.measure for each in found.kinds] == ["mm", "m", "%", "deg", "rad"]
    assert found != Dimensions.of("linear", *words[1:])
    a, b = np.ones((2, 5)), np.full((2, 5), 2.0)
    plain = Dimensions.of("linear:mm", "velocity:m/s")
    np.testing.assert_array_equal(plain.blend(a[:, :2], b[:, :2], 0.25, 0.75), 0.75 * b[:, :2] + 0.25 * a[:, :2])
    for wrong in ("linear:m m", "linear:" + "m" * 17, "linear:-", "angle:mm", "linear:0x"):
        with pytest.raises(SpecError):
            kind(wrong)


def test_a_rotation_is_whole_and_there_is_a_kind_for_each_dimension() -> None:
    for words in (["quaternion"] * 3, ["quaternion"] * 5, ["rotation-6d"] * 4, ["quaternion", "linear"] * 4):
        with pytest.raises(SpecError, match="one after the other"):
            Dimensions.of(*words)
    with pytest.raises(SpecError, match="one after the other"):
        MIXED.part([3, 4])
    assert MIXED.part([3, 4, 5, 6, 1]).words == ("quaternion",) * 4 + ("angle",)
    with pytest.raises(SpecError, match=r"2 action kinds(.|\n)*3, one per dimension: a, b, c"):
        ANGLES.check("action", ("a", "b", "c"))
    LINEAR.check("action", ("a", "b", "c"))


@given(st.integers(0, 2**32 - 1))
def test_another_description_of_the_same_makes_no_difference(seed: int) -> None:
    a, b, share = drawn(seed, 5), drawn(seed + 1, 5), 0.3
    others = other_words(a, seed), other_words(b, seed + 1)
    one, other = MIXED.difference(a, b), MIXED.difference(*others)
    np.testing.assert_allclose(one[..., :3], other[..., :3], atol=1e-9)
    assert (np.abs(one[..., 1:3]) <= np.array([np.pi, 180]) + 1e-9).all()
    same(MIXED.blend(a, b, 1 - share, share), MIXED.blend(*others, 1 - share, share))
    same(MIXED.near(others[0], a), a)
    same(MIXED.wrapped(a, [0] * 15), a)


@given(st.integers(0, 2**32 - 1))
def test_paths_go_on_without_a_jump_and_mean_the_same(seed: int) -> None:
    steps = np.cumsum(np.random.default_rng(seed).uniform(-1, 1, (30, 2)) * [0.9, 50], axis=0)
    path = np.zeros((30, 15))
    path[:, 1:3] = steps
    path[:, 3:7] = [1, 0, 0, 0]
    path[:, 3:7] += 0.1 * np.random.default_rng(seed).normal(size=(30, 4))
    path = MIXED.proper(path)
    found = MIXED.continuous(other_words(path, seed), path[0])
    np.testing.assert_allclose(found, path, atol=1e-9)
    one_at_a_time = [path[0]]
    for point in other_words(path, seed):
        one_at_a_time.append(MIXED.near(point, one_at_a_time[-1]))
    np.testing.assert_allclose(found, one_at_a_time[1:], atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_blend_lies_between_and_nothing_lies_between_two_values(seed: int, share: float) -> None:
    old, new = drawn(seed, 7), drawn(seed + 1, 7)
    mixed = MIXED.blend(old, new, 1 - share, share)
    off, whole = MIXED.difference(mixed, new), MIXED.difference(old, new)
    np.testing.assert_allclose(off[:, :3], (1 - share) * whole[:, :3], atol=1e-9)
    np.testing.assert_array_equal(mixed[:, 7], new[:, 7] if share > 0 else old[:, 7])
    np.testing.assert_allclose(np.linalg.norm(mixed[:, 3:7], axis=1), 1)
    columns = mixed[:, 9:].reshape(7, 2, 3)
    np.testing.assert_allclose(columns @ columns.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (7, 2, 2)), atol=1e-9)


def test_all_of_the_new_one_is_the_new_one_to_the_bit() -> None:
    old, new = drawn(0, 20)[:, :3], drawn(1, 20)[:, :3]
    np.testing.assert_array_equal(MIXED.part(range(3)).blend(old, new, 0.0, 1.0), new)


@given(st.integers(0, 2**32 - 1))
def test_a_change_of_unit_commutes_with_everything(seed: int) -> None:
    a, b = drawn(seed, 4, 6)[..., 1:2], drawn(seed + 1, 4, 6)[..., 1:2]
    radians, degrees = Dimensions.of("angle"), Dimensions.of("angle:360")
    factor = 180 / np.pi
    for of in (
        lambda d, x, y: d.difference(x, y),
        lambda d, x, y: d.blend(x, y, 0.75, 0.25),
        lambda d, x, _: d.continuous(x),
        lambda d, x, _: d.mean(x[0]),
    ):
        np.testing.assert_allclose(factor * of(radians, a, b), of(degrees, factor * a, factor * b), atol=1e-9)
    scaled = radians.scaled([0.5])
    np.testing.assert_allclose(scaled.difference(a / 0.5, b / 0.5), radians.difference(a, b) / 0.5, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_tensors_are_treated_as_arrays_are(seed: int) -> None:
    a, b = other_words(drawn(seed, 3, 6), seed), drawn(seed + 1, 3, 6)
    x, y, share = torch.tensor(a), torch.tensor(b), torch.rand(3, 6, 1, dtype=torch.float64)
    for array, tensor in (
        (MIXED.difference(a, b), MIXED.difference(x, y)),
        (MIXED.blend(a, b, 1 - share.numpy(), share.numpy()), MIXED.blend(x, y, 1 - share, share)),
        (MIXED.continuous(a), MIXED.continuous(x)),
        (MIXED.continuous(a, b[:, 0]), MIXED.continuous(x, y[:, 0])),
        (MIXED.wrapped(a, [0.0] * 15), MIXED.wrapped(x, [0.0] * 15)),
    ):
        np.testing.assert_allclose(array, tensor.numpy(), atol=1e-9)
    assert (x.numpy() == a).all()  # nothing is written into what was given


@given(st.integers(0, 2**32 - 1))
def test_plain_numbers_are_plain_expressions_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, share = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.random((5, 1))
    for dimensions in (LINEAR, Dimensions.of("gripper", "linear", "velocity")):
        np.testing.assert_array_equal(dimensions.difference(a, b), a - b)
        np.testing.assert_array_equal(dimensions.blend(a, b, 1 - share, share), share * b + (1 - share) * a)
        np.testing.assert_array_equal(dimensions.mean(a), a.mean(0))
        assert dimensions.continuous(a) is a
        assert dimensions.proper(a) is a


def test_a_mean_is_one_on_the_circle() -> None:
    np.testing.assert_allclose(
        Dimensions.of("angle:360").mean(np.array([[350.0], [10.0], [3.0], [357.0]])), 0, atol=1e-9
    )
    turned = Dimensions.of(*["quaternion"] * 4).mean(np.array([[1.0, 0, 0, 0.1], [-1, 0, 0, 0.1]]))
    np.testing.assert_allclose(turned, [1, 0, 0, 0], atol=1e-9)


def test_a_hold_ends_velocities_and_displacements_and_their_path_is_added_up() -> None:
    base = Dimensions.of("linear", "velocity", "displacement", "angle", "binary")
    commands = np.array([[0.5, 0.2, 0.01, 3.1, 1.0], [0.6, 0.2, 0.01, -3.1, 0.0]])
    np.testing.assert_array_equal(base.held(commands[0]), [0.5, 0, 0, 3.1, 1.0])
    np.testing.assert_allclose(base.path(commands, 0.5)[1], [0.6, 0.2, 0.02, 2 * np.pi - 3.1, 0.0])


def test_a_rotation_of_no_length_is_left_as_it_is() -> None:
    assert (MIXED.proper(np.zeros((2, 15))) == 0).all()
