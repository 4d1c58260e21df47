"""LeRobot's `RTCProcessor` and our RTC on the same networks and noise: where they are one method, and where not.

theirs                                  ours
execution_horizon e                     known: the prefix is the first min(e, leftover) positions
inference_delay d                       delay
prefix_attention_schedule               shape: ZEROS step, LINEAR linear, EXP exponential
max_guidance_weight                     clip
(what its gradient amounts to)          jacobian=identity
"""

# pyright: reportMissingImports=false

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.configs import RTCAttentionSchedule
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from lerobot.policies.rtc.modeling_rtc import RTCProcessor
from tiny_policies import ACTION, FLOW, HORIZON, STATE, STEPS, TOP, WIDTH, processors, tiny
from torch import Tensor

from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.strategies.flow import Step, estimate
from segue.strategies.hooks import Prefix
from segue.strategies.rtc import RTC, guidance_gain, identity, vjp
from segue.strategies.weights import Shape

SCHEDULES: dict[Shape, RTCAttentionSchedule] = {
    "step": RTCAttentionSchedule.ZEROS,
    "linear": RTCAttentionSchedule.LINEAR,
    "exponential": RTCAttentionSchedule.EXP,
}
OBSERVATION = {
    "observation.state": torch.linspace(-1, 1, STATE)[None],
    TOP: torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)),
    "task": ["put the cup away"],
}


def noise(seed: int = 2) -> Tensor:
    return torch.randn(1, HORIZON, WIDTH, generator=torch.Generator().manual_seed(seed))


def leftover(rows: int) -> Tensor:
    """What is left of a chunk, normalised, without padded dimensions, as LeRobot's engine hands it over."""
    return torch.randn(rows, ACTION, generator=torch.Generator().manual_seed(3))


def prefix(rows: Tensor, known: int, delay: int) -> Prefix:
    reference = torch.zeros(1, HORIZON, WIDTH)
    reference[0, : len(rows), :ACTION] = rows
    votes = torch.ones(1, HORIZON, dtype=torch.int64)
    return Prefix(reference, known=torch.tensor([known]), delay=torch.tensor([delay]), votes=votes)


@pytest.fixture(params=FLOW)
def ours(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LeRobotFlowPolicy:
    theirs = tiny(request.param, tmp_path, monkeypatch)
    return LeRobotFlowPolicy(theirs, *processors(request.param, theirs.config), dt=0.1)


def their_chunk(ours: LeRobotFlowPolicy, config: RTCConfig, rows: Tensor, delay: int) -> Tensor:
    """Sampled by LeRobot from end to end. Normalised, shape (1, horizon, action)."""
    ours.theirs.config.rtc_config = config
    ours.theirs.init_rtc_processor()
    seen = ours.units.preprocess(dict(OBSERVATION))
    return ours.theirs.predict_action_chunk(seen, noise=noise(), inference_delay=delay, prev_chunk_left_over=rows)


def our_chunk(ours: LeRobotFlowPolicy, strategy: RTC, known: Prefix) -> Tensor:
    with torch.no_grad():
        return ours.continue_chunk(strategy, OBSERVATION, known, noise(), STEPS)[..., :ACTION]


@pytest.mark.parametrize("shape", SCHEDULES)
@pytest.mark.parametrize(("rows", "end", "delay"), [(9, 9, 2), (9, 6, 3), (5, 10, 0), (8, 8, 8)])
def test_the_identity_form_is_theirs(ours: LeRobotFlowPolicy, shape: Shape, rows: int, end: int, delay: int) -> None:
    config = RTCConfig(prefix_attention_schedule=SCHEDULES[shape], execution_horizon=end, max_guidance_weight=10.0)
    expected = their_chunk(ours, config, leftover(rows), delay)
    strategy = RTC(jacobian=identity, clip=10.0, shape=shape)
    found = our_chunk(ours, strategy, prefix(leftover(rows), min(end, rows), delay))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    plain = our_chunk(ours, replace(strategy, clip=0.0), prefix(leftover(rows), rows, delay))
    guided = not (shape == "step" and delay == 0)
    assert bool((plain - expected).abs().max() > 0.1) == guided


def test_the_form_of_the_paper_is_another(ours: LeRobotFlowPolicy) -> None:
    config = RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.EXP, execution_horizon=9)
    theirs = their_chunk(ours, config, leftover(9), 2)
    known = prefix(leftover(9), 9, 2)
    same, paper = (our_chunk(ours, RTC(each, 10.0), known) for each in (identity, vjp))
    assert (same - theirs).abs().max() < 1e-3
    assert (paper - theirs).abs().max() > 0.1


def test_the_gradient_of_their_guidance_is_that_of_the_identity() -> None:
    """Their velocity is computed before the gradient of its input is asked for, so that it counts as a constant."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x, rows = (torch.randn(1, 6, 4, generator=generator, dtype=torch.float64) for _ in range(2))

    def field(x: Tensor, t: float) -> Tensor:
        return torch.tanh(x @ matrix) * (1 + t)

    t, d, end = 0.4, 2, 5
    processor = RTCProcessor(RTCConfig(prefix_attention_schedule=RTCAttentionSchedule.LINEAR, execution_horizon=end))
    theirs = -processor.denoise_step(x, rows[:, :end], d, 1 - t, lambda x: -field(x, t))
    w = torch.tensor([1, 1, 3 / 4, 1 / 2, 1 / 4, 0], dtype=torch.float64)[None, :, None]

    def guided(jacobian: Any) -> Tensor:
        velocity, correction = jacobian(field, x, t, lambda guess: w * (rows - guess))
        return velocity + guidance_gain(t, 10.0) * correction

    error = w * (rows - estimate(x, t, field(x, t)))
    by_hand = field(x, t) + (t**2 + (1 - t) ** 2) / (t * (1 - t)) * error
    torch.testing.assert_close(theirs, by_hand, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(guided(identity), by_hand)
    assert (guided(vjp) - theirs).abs().max() > 1.0


def test_theirs_cannot_run_in_inference_mode_and_ours_can(ours: LeRobotFlowPolicy) -> None:
    config = RTCConfig(execution_horizon=9)
    with torch.inference_mode(), pytest.raises(RuntimeError):
        their_chunk(ours, config, leftover(9), 2)
    strategy = RTC(clip=10.0, shape="linear")
    expected = our_chunk(ours, strategy, prefix(leftover(9), 9, 2))
    step = Step(t=0.2, h=0.2, last=False)
    field = torch.tanh
    with torch.inference_mode():
        hooks = strategy.hooks(prefix(leftover(9), 9, 2))
        inside = hooks.guide(lambda x, t: field(x), noise(), step)
    outside = strategy.hooks(prefix(leftover(9), 9, 2)).guide(lambda x, t: field(x), noise(), step)
    assert torch.equal(inside, outside)
    assert torch.isfinite(expected).all()
