"""Observations of named parts, from one robot to a policy that wants tensors by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.spec import PolicySpec
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.observation import of_one, on_device
from segue.policies.policy import Policy, Units
from segue.strategies.blend import CrossFade
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive


def test_a_vector_and_a_mapping_become_a_batch_of_one() -> None:
    vector = of_one(np.zeros(3, np.float32))
    assert isinstance(vector, np.ndarray)
    assert vector.shape == (1, 3)
    one = of_one({"state": np.zeros(3), "picture": np.zeros((4, 5, 3), np.uint8), "task": "stack"})
    assert isinstance(one, Mapping)
    assert one["state"].shape == (1, 3)
    assert one["picture"].shape == (1, 4, 5, 3)
    assert one["task"] == ["stack"]


def test_numbers_become_single_precision_and_the_rest_stays() -> None:
    device = torch.device("cpu")
    seen = on_device(
        {"state": np.zeros((2, 3)), "picture": np.zeros((2, 4, 5, 3), np.uint8), "task": ["a", "b"]}, device
    )
    assert isinstance(seen, dict)
    assert seen["state"].dtype == torch.float32
    assert seen["picture"].dtype == torch.uint8
    assert seen["task"] == ["a", "b"]
    vector = on_device(np.zeros((2, 3)), device)
    assert isinstance(vector, Tensor)
    assert vector.dtype == torch.float32


class FromHere(Units):
    """Actions relative to the state that is seen."""

    stride, chunk_shape, device = 1, (6, 2), torch.device("cpu")  # type: ignore[assignment]

    def encode(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        return observation

    def to_policy(self, actions: Tensor, observation: Mapping[str, Any]) -> Tensor:
        return actions - observation["state"][:, None]

    def to_robot(self, chunk: Tensor, observation: Mapping[str, Any]) -> Tensor:
        return chunk + observation["state"][:, None]


class Following(Policy):
    """Goes away from the state that it sees, as fast as the task says."""

    spec, denoising_steps = PolicySpec(6, 0.1, ("x", "y"), ("x", "y")), 5
    units = FromHere()

    def loss(self, pair: object, context: object) -> Tensor:
        raise NotImplementedError

    def continue_chunk(
        self, strategy: Strategy, observation: Mapping[str, Any], prefix: Prefix, noise: Tensor, steps: int
    ) -> Tensor:
        speed = torch.tensor([float(task) for task in observation["task"]])[:, None, None]
        return strategy.hooks(prefix).finish(torch.arange(6.0)[:, None].expand(noise.shape) * speed)


def test_a_policy_of_named_parts_is_continued_like_any_other() -> None:
    seen = {"state": np.array([1.0, 2.0]), "task": "0.5"}
    actions = ContinuingPolicy(Following(), Naive()).next_chunk(seen, nothing_to_continue(0, 2, 3))
    np.testing.assert_allclose(actions, np.array([1.0, 2.0]) + 0.5 * np.arange(6)[:, None])
    prefix = np.array([[9.0, 9.0], [8.0, 8.0], [7.0, 7.0]], np.float32)
    continuation = Continuation(3, prefix, 1, 3, np.ones(3, np.int64))
    faded = ContinuingPolicy(Following(), CrossFade()).next_chunk(seen, continuation)
    share = np.array([1, 2 / 3, 1 / 3])[:, None]  # committed, then a ramp over the two that are left
    np.testing.assert_allclose(faded[:3], share * prefix + (1 - share) * actions[:3], rtol=1e-6)
    np.testing.assert_allclose(faded[3:], actions[3:], rtol=1e-6)
