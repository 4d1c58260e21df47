"""SmolVLA, pi0 and pi0.5 of LeRobot as policies of ours: the same numbers, every method, the schedule told to them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_policies import ACTION, FLOW, HORIZON, STATE, STEPS, TOP, WIDTH, processors, statistics, tiny
from torch import Tensor

from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.errors import SpecError, UnknownNameError
from segue.integrations.lerobot.commanded import InParts, commanded_state
from segue.integrations.lerobot.noise import noise_shape
from segue.integrations.lerobot.policies.conditioning import (
    Conditioning,
    InputChannel,
    PositionTime,
    SpareDimension,
    Untold,
)
from segue.integrations.lerobot.policies.fields import Encoded, velocity
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.noise import CarriedNoise, step_noise
from segue.policies.predictors.predictor import PredictivePolicy
from segue.strategies.blend import CrossFade, TemporalEnsembling, WeightedBlend
from segue.strategies.hooks import Strategy
from segue.strategies.legato import Legato
from segue.strategies.naive import Naive
from segue.strategies.rtc import RTC, identity
from segue.strategies.training_time_rtc import TrainingTimeRTC

TOLD = [(name, each) for name in FLOW for each in (InputChannel(), SpareDimension())] + [("pi05", PositionTime())]
STATE_SEEN = np.linspace(-1, 1, STATE, dtype=np.float32)
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
OBSERVATION = Observation(STATE_SEEN, {"top": PICTURE}, "put the cup away")
SPREAD = statistics()["action"]["std"].numpy()
PREFIX = (statistics()["action"]["mean"].numpy() + 0.1 * SPREAD * np.arange(9)[:, None]).astype(np.float32)
CONTINUATION = Continuation(start=3, prefix=PREFIX, delay=2, execution_horizon=3, votes=np.ones(9, np.int64))


@dataclass(frozen=True)
class Theirs:
    name: str
    policy: Any
    preprocess: Any
    postprocess: Any

    def ours(self, conditioning: Conditioning | None = None) -> LeRobotFlowPolicy:
        return LeRobotFlowPolicy(self.policy, self.preprocess, self.postprocess, dt=0.1, conditioning=conditioning)


def made(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Theirs:
    policy = tiny(name, folder, patch)
    return Theirs(name, policy, *processors(name, policy.config))


@pytest.fixture(params=FLOW)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theirs]:
    with pytest.MonkeyPatch.context() as patch:
        yield made(request.param, tmp_path, patch)


def told(name: str, conditioning: Conditioning, folder: Path) -> tuple[Theirs, LeRobotFlowPolicy]:
    with pytest.MonkeyPatch.context() as patch:
        theirs = made(name, folder, patch)
    return theirs, theirs.ours(conditioning)


def encoded(policy: LeRobotFlowPolicy, batch: int = 2) -> Encoded:
    seen = {
        "observation.state": torch.linspace(-1, 1, batch * STATE).reshape(batch, STATE),
        TOP: torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(1)),
        "task": ["put the cup away", "put"][:batch],
    }
    return policy._encode(policy.theirs, policy.units.encode(seen))


def noisy(batch: int = 2) -> Tensor:
    return torch.randn(batch, HORIZON, WIDTH, generator=torch.Generator().manual_seed(2))


def test_plain_sampling_is_theirs(theirs: Theirs) -> None:
    chunk = ContinuingPolicy(theirs.ours(), Naive(), seed=7).next_chunk(OBSERVATION, nothing_to_continue(0, ACTION, 6))
    noise = torch.randn(1, HORIZON, WIDTH, generator=torch.Generator().manual_seed(7))
    seen = theirs.preprocess(
        {
            "observation.state": torch.as_tensor(STATE_SEEN),
            TOP: torch.as_tensor(PICTURE).permute(2, 0, 1) / 255,
            "task": OBSERVATION.prompt,
        }
    )
    expected = theirs.postprocess(theirs.policy.predict_action_chunk(seen, noise=noise))
    assert chunk.shape == (HORIZON, ACTION)
    np.testing.assert_allclose(chunk, expected[0].numpy(), rtol=1e-4, atol=1e-4)
    assert theirs.ours().denoising_steps == STEPS


@pytest.mark.parametrize("in_parts", [False, True])
def test_carried_noise_and_the_commanded_state_reach_their_sampler(theirs: Theirs, in_parts: bool) -> None:
    """The chunk is what their own sampler makes of the noise of its steps, in the state of the takeover."""
    names = [f"joint {i}" for i in range(STATE)]
    commanded = commanded_state(names, names[:ACTION])
    continuing = ContinuingPolicy(theirs.ours(), Naive(), seed=7, noise=CarriedNoise(0.7))
    seen: Any = OBSERVATION
    if in_parts:
        seen = {"observation.state": STATE_SEEN, TOP: PICTURE, "task": OBSERVATION.prompt}
    chunk = PredictivePolicy(continuing, InParts(commanded)).next_chunk(seen, replace(CONTINUATION, episode=4))
    d = CONTINUATION.delay
    state = np.concatenate([PREFIX[d - 1], STATE_SEEN[ACTION:]])
    batch = theirs.preprocess(
        {
            "observation.state": torch.as_tensor(state),
            TOP: torch.as_tensor(PICTURE).permute(2, 0, 1) / 255,
            "task": OBSERVATION.prompt,
        }
    )
    noise = 0.7 * step_noise(7, 4, CONTINUATION.start + d, HORIZON, WIDTH).float()[None]
    expected = theirs.postprocess(theirs.policy.predict_action_chunk(batch, noise=noise.clone()))[0].numpy()
    np.testing.assert_array_equal(chunk[:d], PREFIX[:d])
    np.testing.assert_allclose(chunk[d:], expected[: HORIZON - d], rtol=1e-4, atol=1e-4)
    assert noise_shape(theirs.policy) == (HORIZON, WIDTH, 1)


def test_observation_matters_in_all_its_parts(theirs: Theirs) -> None:
    def chunk(observation: Any) -> np.ndarray:
        return ContinuingPolicy(theirs.ours(), Naive()).next_chunk(observation, nothing_to_continue(0, ACTION, 6))

    plain = chunk(OBSERVATION)
    parts = {"observation.state": STATE_SEEN, TOP: PICTURE, "task": OBSERVATION.prompt}  # under their names
    np.testing.assert_array_equal(plain, chunk(parts))
    dark = {"top": np.zeros_like(PICTURE)}
    assert np.abs(chunk(replace(OBSERVATION, pictures=dark)) - plain).max() > 1e-4
    assert np.abs(chunk(replace(OBSERVATION, prompt="the cup")) - plain).max() > 1e-4
    assert np.abs(chunk(replace(OBSERVATION, state=STATE_SEEN + 9)) - plain).max() > 1e-4
    assert theirs.ours().spec.cameras == {"top": (64, 64)}


def test_cameras_may_have_names_of_ours(theirs: Theirs) -> None:
    named = LeRobotFlowPolicy(theirs.policy, theirs.preprocess, theirs.postprocess, dt=0.1, cameras={"wrist": TOP})
    seen = replace(OBSERVATION, pictures={"wrist": PICTURE})
    none = nothing_to_continue(0, ACTION, 6)
    found, same = (ContinuingPolicy(each, Naive()) for each in (named, theirs.ours()))
    np.testing.assert_array_equal(found.next_chunk(seen, none), same.next_chunk(OBSERVATION, none))
    with pytest.raises(SpecError, match="wrist"):
        found.next_chunk(OBSERVATION, none)
    with pytest.raises(SpecError, match=r"observation\.images\.left"):
        LeRobotFlowPolicy(
            theirs.policy, theirs.preprocess, theirs.postprocess, dt=0.1, cameras={"left": "observation.images.left"}
        )


@pytest.mark.parametrize(
    "strategy",
    [Naive(), TemporalEnsembling(), WeightedBlend(), CrossFade(), RTC(), RTC(jacobian=identity)],
    ids=lambda each: type(each).__name__,
)
def test_methods_for_plain_policies_fit(theirs: Theirs, strategy: Strategy) -> None:
    with torch.inference_mode():  # as robots' loops are written
        chunk = ContinuingPolicy(theirs.ours(), strategy).next_chunk(OBSERVATION, CONTINUATION)
    plain = ContinuingPolicy(theirs.ours(), Naive()).next_chunk(OBSERVATION, CONTINUATION)
    assert np.isfinite(chunk).all()
    if isinstance(strategy, Naive):
        np.testing.assert_array_equal(chunk, plain)
    else:
        d = CONTINUATION.delay
        distances = [np.abs((each[:d] - PREFIX[:d]) / SPREAD).mean() for each in (chunk, plain)]
        assert distances[0] < distances[1]


@pytest.mark.parametrize("strategy", [TrainingTimeRTC(), Legato()], ids=lambda each: type(each).__name__)
def test_a_network_that_was_not_told_is_not_asked(theirs: Theirs, strategy: Strategy) -> None:
    policy = ContinuingPolicy(theirs.ours(), strategy)
    policy.next_chunk(OBSERVATION, nothing_to_continue(0, ACTION, 6))  # a first chunk starts from nothing
    with pytest.raises(SpecError, match="fine-tune"):
        policy.next_chunk(OBSERVATION, CONTINUATION)


@pytest.mark.parametrize(("name", "conditioning"), TOLD, ids=str)
def test_at_zero_the_pretrained_function_is_unchanged(name: str, conditioning: Conditioning, tmp_path: Path) -> None:
    theirs, policy = told(name, Untold(), tmp_path)
    x, t, w = noisy(), torch.tensor([0.2, 0.7]), torch.zeros(2, HORIZON)
    if isinstance(conditioning, SpareDimension):
        x[..., -1] = 0
    with torch.no_grad():
        before = policy.velocity(x, t, w, encoded(policy))
        policy = theirs.ours(conditioning)
        after = policy.velocity(x, t, w, encoded(policy))
        stock = velocity(theirs.policy, x, t, encoded(policy))
    if isinstance(conditioning, SpareDimension):
        before[..., -1] = 0
        stock[..., -1] = 0
    assert torch.equal(after, before)
    assert torch.equal(stock, before)  # and LeRobot's own calls go on as before


@pytest.mark.parametrize(("name", "conditioning"), TOLD, ids=str)
def test_a_told_network_depends_on_the_schedule(name: str, conditioning: Conditioning, tmp_path: Path) -> None:
    _, policy = told(name, conditioning, tmp_path)
    if isinstance(conditioning, InputChannel):
        with torch.no_grad():
            policy.theirs.model.action_in_proj.channel.normal_(generator=torch.Generator().manual_seed(3))
    x, t, w = noisy(), torch.tensor([0.2, 0.7]), torch.zeros(2, HORIZON)
    w[:, :3] = 0.5
    with torch.no_grad():
        none, some = (policy.velocity(x, t, each, encoded(policy)) for each in (torch.zeros_like(w), w))
    assert (some - none)[..., :ACTION].abs().max() > 1e-3


def test_a_robot_without_a_prefix_beside_one_with_a_prefix(tmp_path: Path) -> None:
    _, policy = told("pi05", PositionTime(), tmp_path)
    x, t, w = noisy(), torch.tensor([0.2, 0.7]), torch.zeros(2, HORIZON)
    w[1, :3] = 0.5
    with torch.no_grad():
        mixed, plain = (policy.velocity(x, t, each, encoded(policy)) for each in (w, 0 * w))
    torch.testing.assert_close(mixed[0], plain[0], rtol=1e-3, atol=1e-4)  # the same products, in other matrices
    assert not torch.allclose(mixed[1], plain[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("w", [0.25, 0.75])
def test_one_time_for_all_positions_is_theirs_at_that_time(w: float, tmp_path: Path) -> None:
    theirs, policy = told("pi05", PositionTime(), tmp_path)
    x, t = noisy(), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        found = policy.velocity(x, t, torch.full((2, HORIZON), w), encoded(policy))
        expected = (1 - w) * velocity(theirs.policy, x, t + w * (1 - t), encoded(policy))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_time_per_position_changes_that_position_most(tmp_path: Path) -> None:
    _, policy = told("pi05", PositionTime(), tmp_path)
    x, t, w = noisy(1), torch.tensor([0.2]), torch.zeros(1, HORIZON)
    w[0, 4] = 0.5
    with torch.no_grad():
        moved = policy.velocity(x, t, w, encoded(policy, 1)) - policy.velocity(x, t, 0 * w, encoded(policy, 1))
    assert int(moved[0].abs().sum(-1).argmax()) == 4


@pytest.mark.parametrize(("name", "conditioning"), TOLD, ids=str)
@pytest.mark.parametrize("strategy", [TrainingTimeRTC(), Legato()], ids=lambda each: type(each).__name__)
def test_committed_actions_are_kept(name: str, conditioning: Conditioning, strategy: Strategy, tmp_path: Path) -> None:
    _, policy = told(name, conditioning, tmp_path)
    chunk = ContinuingPolicy(policy, strategy).next_chunk(OBSERVATION, CONTINUATION)
    d = CONTINUATION.delay
    np.testing.assert_allclose(chunk[:d], PREFIX[:d], rtol=1e-5, atol=1e-5)
    assert np.isfinite(chunk).all()


@pytest.mark.parametrize("name", ["smolvla", "pi0"])
def test_networks_without_adaptive_normalisation_take_no_time_per_position(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="InputChannel"):
        told(name, PositionTime(), tmp_path)


def test_a_full_network_has_no_dimension_to_spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny("smolvla", tmp_path, monkeypatch)
    with pytest.raises(SpecError, match="InputChannel"):
        SpareDimension().prepare(policy, WIDTH)


def test_other_policies_are_not_taken_for_flow_policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    act = tiny("act", tmp_path, monkeypatch)
    with pytest.raises(UnknownNameError, match="smolvla"):
        LeRobotFlowPolicy(act, *processors("act", act.config), dt=0.1)
