"""ACT and Diffusion Policy of LeRobot: their chunks, and every method that works on finished ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_policies import ACTION, STATE, TOP, processors, statistics, tiny

from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation, stacked
from segue.errors import SpecError
from segue.integrations.lerobot.policies.chunks import LeRobotChunkPolicy
from segue.policies.chunk_policy import ContinuingPolicy
from segue.strategies.blend import AVERAGES
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.rtc import RTC
from segue.strategies.training_time_rtc import TrainingTimeRTC

STATE_SEEN = np.linspace(-1, 1, STATE, dtype=np.float32)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
OBSERVATION = Observation(STATE_SEEN, {"top": PICTURE}, "put the cup away")
PREFIX = np.tile(statistics()["action"]["mean"].numpy(), (9, 1))
CONTINUATION = Continuation(start=3, prefix=PREFIX, delay=2, execution_horizon=3, votes=np.ones(9, np.int64))


@pytest.fixture(params=["act", "diffusion"])
def ours(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LeRobotChunkPolicy:
    theirs = tiny(request.param, tmp_path, monkeypatch)
    return LeRobotChunkPolicy(theirs, *processors(request.param, theirs.config), dt=0.1)


def test_chunks_are_theirs(ours: LeRobotChunkPolicy) -> None:
    found = ContinuingPolicy(ours, Naive(), seed=7).next_chunk(OBSERVATION, nothing_to_continue(0, ACTION, 6))
    parts = {"observation.state": torch.as_tensor(STATE_SEEN)[None], TOP: torch.as_tensor(PICTURE)[None]}
    seen = ours.units.encode(parts)
    if ours.family == "regression":
        expected = ours.theirs.predict_action_chunk(seen)
        assert ours.spec.horizon == 12
    else:
        noise = torch.randn(1, 16, ACTION, generator=torch.Generator().manual_seed(7))
        ours.theirs.reset()
        twice = {name: part[:, None].repeat_interleave(2, 1) for name, part in seen.items() if name in parts}
        expected = ours.theirs.predict_action_chunk(twice, noise=noise)
        assert ours.spec.horizon == 15  # all from the present action on; LeRobot executes the first 8 of them
    expected = ours.units.postprocess(expected)[0].numpy()
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_the_last_observations_may_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tiny("diffusion", tmp_path, monkeypatch)
    policy = ContinuingPolicy(
        LeRobotChunkPolicy(theirs, *processors("diffusion", theirs.config), dt=0.1), Naive(), seed=1
    )
    none, now = nothing_to_continue(0, ACTION, 6), {"observation.state": STATE_SEEN, TOP: PICTURE}

    def chunk(**parts: np.ndarray) -> np.ndarray:
        one = {name: part[None] for name, part in parts.items()}
        return policy.next_chunks(one, [none], [torch.Generator().manual_seed(0)])[0]

    twice = {name: np.stack([part, part]) for name, part in now.items()}
    np.testing.assert_allclose(chunk(**twice), chunk(**now), rtol=1e-5)
    moved = {**twice, "observation.state": np.stack([now["observation.state"] - 1, now["observation.state"]])}
    assert np.abs(chunk(**moved) - chunk(**now)).max() > 1e-3


@pytest.mark.parametrize("strategy", AVERAGES, ids=lambda each: each.__name__)
def test_finished_chunks_are_continued(ours: LeRobotChunkPolicy, strategy: type[Strategy]) -> None:
    plain, continued = (
        ContinuingPolicy(ours, each, seed=3).next_chunk(OBSERVATION, CONTINUATION) for each in (Naive(), strategy())
    )
    known = CONTINUATION.known
    assert (np.abs(continued[:2] - PREFIX[:2]) <= np.abs(plain[:2] - PREFIX[:2]) + 1e-4).all()
    np.testing.assert_allclose(continued[known:], plain[known:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", [RTC(), TrainingTimeRTC(), Legato()], ids=lambda s: type(s).__name__)
def test_what_needs_a_velocity_field_is_refused(ours: LeRobotChunkPolicy, strategy: Strategy) -> None:
    with pytest.raises(SpecError, match="velocity field"):
        ContinuingPolicy(ours, strategy).next_chunk(OBSERVATION, CONTINUATION)


def test_two_robots_are_answered_in_one_call(ours: LeRobotChunkPolicy) -> None:
    two = stacked([OBSERVATION, OBSERVATION])
    none = nothing_to_continue(0, ACTION, 6)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    chunks = ContinuingPolicy(ours, Naive()).next_chunks(two, [none, none], generators)
    np.testing.assert_allclose(chunks[0], chunks[1], rtol=1e-4, atol=1e-4)
