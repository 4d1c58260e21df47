"""LeRobot's own queue and engine for real-time chunking, with our policy."""

# pyright: reportMissingImports=false

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fakes import leftover_contract as contract


def policy(updates: int = 4, **choices: Any) -> Any:
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot_policy_segue import SegueConfig
    from lerobot_policy_segue.modeling_segue import SeguePolicy

    settings = {"horizon": contract.HORIZON, "network_settings": {"width": 16, "depth": 1}, "plain_updates": 2}
    config = SegueConfig(**settings | choices, device="cpu", push_to_hub=False)
    config.input_features = {"observation.state": PolicyFeature(FeatureType.STATE, (contract.STATE,))}
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (contract.ACTION,))}
    torch.manual_seed(0)
    made = SeguePolicy(config)
    contract.train(made, updates)
    return made


@pytest.mark.parametrize("executed", [0, 6, 15])
def test_the_leftover_is_the_reference(executed: int) -> None:
    from lerobot.policies.rtc import ActionQueue
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.rollout.inference.rtc import _normalize_prev_actions_length, supports_rtc_inference

    made = policy()
    assert supports_rtc_inference(made)
    queue = ActionQueue(RTCConfig())
    contract.check_the_leftover_is_continued(made, queue, _normalize_prev_actions_length, executed)
    contract.check_what_is_left_matters(made)


@pytest.mark.parametrize("method", ["legato", "rtc"])
def test_inference_mode(method: str) -> None:
    contract.check_inference_mode(policy(method=method))


def test_the_engine_s_own_thread_goes_on_with_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock is ours: while the policy computes, the robot takes four actions, however long that takes here."""
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.rollout.inference import RTCInferenceEngine, rtc
    from lerobot_policy_segue.processor_segue import make_segue_pre_post_processors

    made, asked = policy(), []
    names = ["a.pos", "b.pos", "c.pos", "d.pos"]
    statistics = {"mean": torch.zeros(4), "std": torch.ones(4)}
    before, after = make_segue_pre_post_processors(
        made.config,
        {
            "observation.state": statistics,
            "action": {name: each[: contract.ACTION] for name, each in statistics.items()},
        },
    )
    answer, now, threshold, during = made.predict_action_chunk, [0.0], 10, 4

    def recorded(batch: Any, **known: Any) -> torch.Tensor:
        chunk = answer(batch, **known)
        for _ in range(during):
            engine.get_action(None)
        now[0] += (during - 0.5) / 1000
        asked.append((known["inference_delay"], known["prev_chunk_left_over"], chunk.squeeze(0)))
        return chunk

    monkeypatch.setattr(rtc, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=time.sleep))
    made.predict_action_chunk = recorded
    engine = RTCInferenceEngine(
        policy=made,
        preprocessor=before,
        postprocessor=after,
        robot_wrapper=SimpleNamespace(robot_type="reach", action_features={}),
        rtc_config=RTCConfig(execution_horizon=contract.LENGTH),
        hw_features={"observation.state": {"dtype": "float32", "shape": (4,), "names": names}},
        task="",
        fps=1000.0,
        device="cpu",
        rtc_queue_threshold=threshold,
    )
    engine.start()
    engine.resume()
    while len(asked) < 12 and not engine.failed:
        engine.notify_observation(dict.fromkeys(names, 0.1 * len(asked)))
        if engine._action_queue.qsize() > threshold:
            engine.get_action(None)
    engine.stop()
    assert not engine.failed
    continued = [(delay, left, chunk) for delay, left, chunk in asked if left is not None and left.any()]
    assert len(continued) >= 11
    for delay, left, chunk in continued:
        assert left.shape == (contract.LENGTH, contract.ACTION)
        known = int(left.any(-1).sum())
        committed = min(delay, known)
        assert torch.equal(chunk[:committed], left[:committed])
    assert {delay for delay, _, _ in continued} == {during}


def test_any_policy_of_chunks_is_delayed(tmp_path: Path) -> None:
    """One of LeRobot's own that knows of no continuation, saved and loaded as an evaluation does it."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot_policy_segue import SegueDelayedConfig
    from lerobot_policy_segue.modeling_segue_delayed import SegueDelayedPolicy

    config = ACTConfig(
        device="cpu", push_to_hub=False, chunk_size=8, n_action_steps=8, dim_model=16, n_heads=2, dim_feedforward=16,
        n_encoder_layers=1, n_vae_encoder_layers=1, latent_dim=4,
    )  # fmt: skip
    config.input_features = {
        "observation.state": PolicyFeature(FeatureType.STATE, (4,)),
        "observation.environment_state": PolicyFeature(FeatureType.ENV, (3,)),
    }
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (2,))}
    ACTPolicy(config).save_pretrained(tmp_path / "act")
    delayed = SegueDelayedPolicy.from_pretrained(
        tmp_path / "act", config=SegueDelayedConfig(delay=2, execution_horizon=4, device="cpu", push_to_hub=False)
    )
    delayed.reset()
    generator = torch.Generator().manual_seed(0)
    seen = [
        {
            "observation.state": torch.randn(3, 4, generator=generator),
            "observation.environment_state": torch.randn(3, 3, generator=generator),
        }
        for _ in range(12)
    ]
    with torch.inference_mode():
        taken = [delayed.select_action(batch) for batch in seen]
        chunks = {step: delayed.inside.predict_action_chunk(seen[step]) for step in (0, 4, 8)}
    for step, action in enumerate(taken):
        asked = max((step - 2) // 4, 0) * 4
        torch.testing.assert_close(action, chunks[asked][:, step - asked])
