"""LiPo: what its package is asked, by a fake of the package that notes it, and what is made of its answers."""

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fakes.flow_oracles import prefix, randn
from segue.core.dimensions import Dimensions
from segue.errors import MissingExtraError, SpecError
from segue.integrations import lipo
from segue.integrations.lipo import LiPo
from segue.methods.methods import method
from segue.strategies.hooks import nothing_known

H, A = 16, 2


class Package:
    """`action_lipo.ActionLiPo` of 0.2: solve(actions, past, count) -> (solution, blended), or (None, an error)."""

    made: list[dict[str, Any]]
    asked: list[tuple[Any, Any, int]]
    solved = True

    def __init__(self, **settings: Any) -> None:
        self.made.append(settings)

    def solve(self, actions: Any, past_actions: Any, len_past_actions: int) -> tuple[Any, Any]:
        self.asked.append((actions, past_actions, len_past_actions))
        return (actions + 1, actions) if self.solved else (None, RuntimeError("no"))

    def reset_log(self) -> None:
        pass


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Package]:
    lipo._solver.cache_clear()
    found = type("Found", (Package,), {"made": [], "asked": []})
    monkeypatch.setitem(sys.modules, "action_lipo", SimpleNamespace(ActionLiPo=found))  # type: ignore[arg-type]
    return found


def test_the_package_is_told_the_old_chunk_and_how_it_came_to_be(package: type[Package]) -> None:
    reference, new = randn(1, H, A, seed=1), randn(1, H, A, seed=2)
    made = LiPo(blending=6, near_blend=0.1, near_path=0.2).hooks(prefix(reference, 12, 3)).finish(new)
    assert torch.equal(made, new + 1)
    assert package.made == [{
        "dt": 1.0, "chunk_size": H, "blending_horizon": 6, "action_dim": A, "len_time_delay": 3,
        "epsilon_blending": 0.1, "epsilon_path": 0.2,
    }]  # fmt: skip
    actions, past, count = package.asked[0]
    assert count == 6
    assert np.array_equal(actions, new[0])
    assert np.array_equal(past[-6:], reference[0, :6])
    # three evenly before: all differences up to the first known one are alike
    np.testing.assert_allclose(np.diff(past[:5], axis=0), np.tile(np.diff(past[3:5], axis=0), (4, 1)), atol=1e-12)


@pytest.mark.parametrize(("known", "delay", "blending"), [(12, 9, 11), (8, 3, 6), (5, 1, 5)])
def test_the_blend_reaches_two_beyond_the_committed_part_and_not_beyond_the_old_chunk(
    package: type[Package], known: int, delay: int, blending: int
) -> None:
    LiPo(blending=6).hooks(prefix(randn(1, H, A), known, delay)).finish(randn(1, H, A))
    assert package.asked[0][2] == blending


@pytest.mark.parametrize(("known", "delay"), [(0, 0), (4, 3), (1, 1)])
def test_where_there_is_nothing_to_blend_the_chunk_is_left(package: type[Package], known: int, delay: int) -> None:
    new = randn(2, H, A)
    assert torch.equal(LiPo().hooks(prefix(randn(2, H, A, seed=1), known, delay)).finish(new), new)
    assert torch.equal(LiPo().hooks(nothing_known(new)).finish(new), new)
    assert not package.asked


def test_without_a_solution_the_chunk_is_left(package: type[Package]) -> None:
    package.solved = False
    new = randn(2, H, A)
    assert torch.equal(LiPo().hooks(prefix(randn(2, H, A, seed=1), 12, 3)).finish(new), new)
    assert len(package.asked) == 2


def test_latents_are_refused_and_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="FinishedPolicy"):
        LiPo().hooks(nothing_known(randn(1, H, A), stride=2))
    lipo._solver.cache_clear()
    monkeypatch.setitem(sys.modules, "action_lipo", None)  # type: ignore[arg-type]
    hooks = LiPo().hooks(prefix(randn(1, H, A), 12, 3))
    with pytest.raises(MissingExtraError, match=r"'\.\[lipo\]'"):
        hooks.finish(randn(1, H, A))


def test_it_is_a_method_by_its_place_and_binary_actions_stay(package: type[Package]) -> None:
    found = method("segue.integrations.lipo:LiPo:near_path=0.01")
    assert found.strategy == LiPo(near_path=0.01)
    before = replace(prefix(randn(1, H, A), 12, 3), kinds=Dimensions.of("linear", "binary"))
    new = randn(1, H, A, seed=3)
    made = LiPo().hooks(before).finish(new)
    assert torch.equal(made[..., 1], new[..., 1])
    assert torch.equal(made[..., 0], new[..., 0] + 1)
