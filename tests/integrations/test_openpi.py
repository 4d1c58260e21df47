"""A policy of openpi behind ours: what it is asked with, and what is refused. A stand-in has its `infer`."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.integrations.openpi import OpenpiPolicy
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
from segue.policies.noise import CarriedNoise, step_noise
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy

SPEC = PolicySpec(8, 0.05, ("x", "y"), ("x", "y"), {"base": (2, 3)})
SHAPE = (10, 5)
SEEN = Observation(np.array([1, 2], np.float32), {"base": np.arange(18, dtype=np.uint8).reshape(2, 3, 3)}, "go")
PREFIX = np.arange(8, dtype=np.float32).reshape(4, 2)


class Their:
    """Its chunk is the state and the noise's first numbers, and it writes into what it is given."""

    def __init__(self, rows: int = SHAPE[0]) -> None:
        self.rows, self.asked = rows, list[dict[str, Any]]()

    def infer(self, obs: dict[str, Any], *, noise: NDArray[np.float32] | None = None) -> dict[str, Any]:
        self.asked.append(obs)
        moved = np.zeros(SHAPE, np.float32) if noise is None else noise.copy()
        if noise is not None:
            noise[:] = np.nan
        return {"actions": (obs["observation/state"] + moved[:, :2])[: self.rows].astype(np.float64)}


def carried(start: int, episode: int = 0) -> NDArray[np.float32]:
    return step_noise(3, episode, start, *SHAPE).mul(0.7).float().numpy()[:8, :2]


def policy(their: Their, **settings: Any) -> OpenpiPolicy:
    return OpenpiPolicy(their, SPEC, noise=CarriedNoise(0.7), shape=SHAPE, seed=3, **settings)


def test_its_sampler_starts_from_the_noise_of_the_steps() -> None:
    their = Their()
    for start, episode in ((0, 0), (5, 0), (5, 1)):
        chunk = policy(their).next_chunk(SEEN, Continuation(start, PREFIX, 2, 4, episode=episode))
        np.testing.assert_allclose(chunk, SEEN.state + carried(start, episode), rtol=1e-5)
        assert chunk.dtype == np.float32
    asked = their.asked[0]
    assert sorted(asked) == ["base", "observation/state", "prompt"]
    np.testing.assert_array_equal(asked["base"], SEEN.pictures["base"])
    assert asked["prompt"] == "go"


def test_their_names_may_be_others_and_without_noise_it_is_not_told_any() -> None:
    their = Their()
    chunk = OpenpiPolicy(their, SPEC, cameras={"base": "observation/image"}).next_chunk(
        SEEN, nothing_to_continue(0, 2, 4)
    )
    np.testing.assert_allclose(chunk, np.tile(SEEN.state, (8, 1)))
    assert "observation/image" in their.asked[0]


def test_behind_our_server_the_client_says_which_steps_and_what_is_committed() -> None:
    ahead = PredictivePolicy(policy(Their()), CommandedState({0: 0, 1: 1}))
    with running(PolicyServer(ahead)) as server:
        remote = RemotePolicy(server.url, deadline=60, patience=60)
        first = remote.next_chunk(SEEN, nothing_to_continue(0, 2, 4))
        later = remote.next_chunk(SEEN, Continuation(4, first[4:], 2, 4))
        remote.close()
    np.testing.assert_allclose(first, SEEN.state + carried(0), rtol=1e-5)
    np.testing.assert_allclose(later[:2], first[4:6])
    np.testing.assert_allclose(later[2:], (first[5] + carried(6))[:6], rtol=1e-5)


@pytest.mark.parametrize("shape", [None, (7, 5), (8, 1)])
def test_noise_has_the_shape_of_the_model_s(shape: Any) -> None:
    with pytest.raises(SpecError, match="action_horizon"):
        OpenpiPolicy(Their(), SPEC, noise=CarriedNoise(), shape=shape)


def test_an_answer_of_another_shape_and_a_missing_camera_say_so() -> None:
    with pytest.raises(SpecError, match="output transforms"):
        policy(Their(rows=5)).next_chunk(SEEN, nothing_to_continue(0, 2, 4))
    with pytest.raises(SpecError, match="base"):
        policy(Their()).next_chunk(np.zeros(2, np.float32), nothing_to_continue(0, 2, 4))
