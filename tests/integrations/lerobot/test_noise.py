"""What policies of LeRobot start from, and which state they are shown, against stand-ins."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakes.lerobot_policies import (
    ACT,
    ACTION,
    CONTINUATION,
    HORIZON,
    PREFIX,
    SEEN,
    TOP,
    WIDTH,
    Model,
    SmolVLA,
    policy,
    postprocess,
    preprocess,
)  # fmt: skip
from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.errors import DataError, SpecError
from segue.integrations.lerobot.commanded import InParts, commanded_state
from segue.integrations.lerobot.noise import GivenNoise
from segue.integrations.lerobot.policies.chunks import LeRobotChunkPolicy
from segue.integrations.lerobot.policies.conditioning import InputChannel
from segue.integrations.lerobot.policies.fine_tuning import FineTuning, fine_tune
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.integrations.lerobot.policies.offsets import delta_timestamps
from segue.integrations.lerobot.policies.units import STATE, TASK, Batch
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.noise import CarriedNoise, FreshNoise, step_noise
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy
from segue.strategies.hooks import Prefix
from segue.strategies.legato import LegatoObjective
from segue.strategies.naive import Naive


@pytest.mark.parametrize("commanded", [None, CommandedState({0: 1})])
def test_fine_tuning_shows_the_state_of_where_the_chunk_begins(commanded: CommandedState | None) -> None:
    """Frame k has the state (k, 0) and the action (10 + 2 k, k): 1, k for the network, which sees the state too."""
    most, made, shown = 3, policy(InputChannel()), []
    assert delta_timestamps(50, HORIZON, most)[STATE] == [0, 0.02, 0.04, 0.06]
    frames = torch.arange(most + HORIZON, dtype=torch.float32)
    batch: Batch = {
        STATE: torch.stack([frames[: most + 1], 0 * frames[: most + 1]], -1).repeat(16, 1, 1),
        "action": torch.stack([10 + 2 * frames, 0.1 * frames], -1).repeat(16, 1, 1),
        TOP: torch.zeros(16, 3, 4, 4),
        TASK: ["go"] * 16,
    }
    normalise = made.units.preprocess

    def recorded(batch: Batch) -> Batch:
        shown.append((batch[STATE], batch["action"]))
        return normalise(batch)

    made.units.preprocess = recorded
    config = FineTuning(updates=3, offset=most)
    fine_tune(made, [batch] * 3, LegatoObjective(own_share=0), config, commanded=commanded)
    states, actions = (torch.cat(each) for each in zip(*shown, strict=True))
    first = (actions[:, 0, 0] - 10) / 2
    assert {int(each) for each in first} == set(range(most + 1))
    torch.testing.assert_close(actions[:, -1, 0], 10 + 2 * (first + HORIZON - 1))
    if commanded is None:
        torch.testing.assert_close(states[:, 0], first)
    else:  # the second number is the last action before the chunk, the first stays that of the picture
        torch.testing.assert_close(states[:, 1], torch.where(first > 0, 10 + 2 * (first - 1), 0.0))
        assert not states[:, 0].any()
    short = {**batch, "action": batch["action"][:, 1:]}
    with pytest.raises(DataError, match=rf"delta_timestamps\(fps, {HORIZON}, {most}\)"):
        fine_tune(made, [short], LegatoObjective(own_share=0), config)


class Still(Model):
    """Does not move: a chunk is the noise that it started from, in the network's units."""

    def denoise_step(self, prefix_pad_masks: Tensor, past_key_values: Tensor, x_t: Tensor, timestep: Tensor) -> Tensor:
        return torch.zeros_like(x_t)


def still() -> LeRobotFlowPolicy:
    theirs = SmolVLA()
    theirs.model = Still()
    return LeRobotFlowPolicy(theirs, preprocess, postprocess, dt=0.02)


def in_parts(observation: Observation) -> dict[str, Any]:
    return {STATE: observation.state, TOP: observation.pictures["top"], TASK: observation.prompt}


@pytest.mark.parametrize("scale", [1.0, 0.7])
@pytest.mark.parametrize("seen", [SEEN, in_parts(SEEN)], ids=["observation", "parts"])
def test_carried_noise_is_that_of_the_step_in_the_network_s_padded_width(seen: Any, scale: float) -> None:
    robot = ContinuingPolicy(still(), Naive(), seed=5, noise=CarriedNoise(scale))
    for episode, start in ((0, 0), (0, 3), (2, 3)):
        chunk = robot.next_chunk(seen, Continuation(start, PREFIX, 2, 4, np.ones(4, np.int64), episode=episode))
        noise = scale * step_noise(5, episode, start, HORIZON, WIDTH)[:, :ACTION].float()
        np.testing.assert_allclose(chunk, postprocess(noise), rtol=1e-5)


def test_a_smaller_scale_brings_fresh_chunks_nearer_to_the_policy_s_zero() -> None:
    nothing = nothing_to_continue(0, ACTION, 4)
    wide, narrow = (
        ContinuingPolicy(still(), Naive(), seed=5, noise=FreshNoise(scale)).next_chunk(SEEN, nothing)
        for scale in (1.0, 0.5)
    )
    np.testing.assert_allclose(narrow - [10, 0], 0.5 * (wide - [10, 0]), rtol=1e-4)


@pytest.mark.parametrize("seen", [SEEN, in_parts(SEEN)], ids=["observation", "parts"])
def test_the_chunk_is_made_for_the_state_that_is_commanded(seen: Any) -> None:
    """The stand-in goes to where state, picture and task say; picture and task are those of now."""
    made = policy()
    names = made.spec.observation_names, made.spec.action_names
    commanded = commanded_state(*names, targets={"action 0": "state 1"})
    ahead = PredictivePolicy(ContinuingPolicy(made, Naive(), noise=CarriedNoise(0.7)), InParts(commanded))
    chunk = ahead.next_chunk(seen, CONTINUATION)
    np.testing.assert_allclose(chunk[:2], PREFIX[:2])
    normalised = np.array([SEEN.state[0], PREFIX[1, 0]]) / 10 + 51 / 255 + len("go")
    np.testing.assert_allclose(chunk[2:], np.tile(normalised * [2.0, 0.1] + [10.0, 0.0], (HORIZON - 2, 1)), rtol=1e-5)
    with pytest.raises(SpecError, match="targets="):
        commanded_state(*names)


class Overwriting(nn.Module):
    """What is called of a Diffusion Policy; its sampler works in the memory that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.diffusion = SimpleNamespace(
            num_inference_steps=1,
            _prepare_global_conditioning=lambda batch: batch[STATE],
            conditional_sample=self.conditional_sample,
        )
        self.config = SimpleNamespace(
            type="diffusion", horizon=HORIZON, n_obs_steps=2, input_features=ACT.config.input_features,
            output_features=ACT.config.output_features, image_features={},
        )  # fmt: skip

    def conditional_sample(self, batch_size: int, global_cond: Tensor, noise: Tensor) -> Tensor:
        assert global_cond.shape == (batch_size, 2, 2)
        return noise.mul_(2)


def test_their_sampler_may_write_into_its_noise() -> None:
    made = LeRobotChunkPolicy(Overwriting(), preprocess, postprocess, dt=0.02)
    noise = torch.randn(1, HORIZON, ACTION, generator=torch.Generator().manual_seed(1))
    given = noise.clone()
    none, votes = torch.zeros(1, dtype=torch.int64), torch.zeros(1, HORIZON, dtype=torch.int64)
    prefix = Prefix(given, none, none, votes)
    seen = {STATE: torch.zeros(1, 2), TASK: ["go"]}
    for _ in range(2):
        chunk = made.continue_chunk(Naive(), seen, prefix, given, made.denoising_steps)
        torch.testing.assert_close(chunk, 2 * noise[:, 1:])
    assert torch.equal(given, noise)


def test_carried_noise_of_a_diffusion_policy_goes_with_the_step() -> None:
    """It samples from the first of its observations on; each row keeps the noise of its step."""
    made = LeRobotChunkPolicy(Overwriting(), preprocess, postprocess, dt=0.02)
    robot = ContinuingPolicy(made, Naive(), seed=3, noise=CarriedNoise(0.7))
    seen = Observation(SEEN.state, {}, "go")
    first, later = (robot.next_chunk(seen, nothing_to_continue(start, ACTION, 4)) for start in (0, 3))
    np.testing.assert_allclose(later[:-3], first[3:], rtol=1e-6)
    expected = postprocess(2 * 0.7 * step_noise(3, 0, 0, HORIZON, ACTION).float())[1:]
    np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_noise_that_is_given_is_copied_and_has_the_policy_s_shape() -> None:
    noise = torch.ones(1, HORIZON, WIDTH)
    robot = ContinuingPolicy(still(), Naive(), noise=GivenNoise(noise))
    nothing = nothing_to_continue(0, ACTION, 4)
    np.testing.assert_allclose(robot.next_chunk(SEEN, nothing), np.tile([12, 0.1], (HORIZON, 1)), rtol=1e-5)
    drawn = robot.noise.draw((HORIZON, WIDTH), 1, [nothing], [torch.Generator()])
    drawn.zero_()
    assert noise.all()
    with pytest.raises(SpecError, match="noise_shape"):
        ContinuingPolicy(still(), Naive(), noise=GivenNoise(noise[..., :2])).next_chunk(SEEN, nothing)
