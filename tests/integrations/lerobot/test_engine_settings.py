"""Settings of the engine in LeRobot's loop."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes.lerobot_engine import HORIZON, ByHand
from segue.core.chunk import Continuation
from segue.core.dimensions import Dimensions
from segue.errors import SpecError, UnknownNameError
from segue.integrations.lerobot.engine import EngineSettings, Inferred, PlanEngine, kinds_of
from segue.policies.noise import CarriedNoise


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"noise": "carryed"}, UnknownNameError),
        ({"predictor": "learned"}, UnknownNameError),
        ({"noise_scale": -0.1}, SpecError),
        ({"noise_scale": float("nan")}, SpecError),
        ({"noise": "carried", "noise_share": 1.5}, SpecError),
        ({"noise_share": 0.5}, SpecError),
        ({"delay_window": 0}, SpecError),
        ({"delay_quantile": float("nan")}, SpecError),
        ({"initial_delay": 1.5}, SpecError),
        ({"execution_horizon": 2.5}, SpecError),
    ],
)
def test_settings_that_do_not_exist_are_refused(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        EngineSettings(**settings)


def test_noise_as_in_training_is_left_to_the_policy() -> None:
    assert EngineSettings().given_noise is None
    for noise, scale in (("fresh", 0.7), ("carried", 1.0), ("carried", 0.7)):
        given = EngineSettings(noise=noise, noise_scale=scale).given_noise
        assert given is not None
        assert given.scale == scale
    half = EngineSettings(noise="carried", noise_scale=0.7, noise_share=0.5).given_noise
    assert half == CarriedNoise(scale=0.7, share=0.5)


def test_a_hold_ends_velocities_and_sends_the_last_targets_again() -> None:
    def infer(observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        actions = np.tile(np.array([0.5, 0.3], np.float32), (HORIZON, 1))
        return Inferred(torch.from_numpy(actions), actions)

    def taken(said: Mapping[str, str]) -> list[list[float] | None]:
        worker = ByHand()
        engine = PlanEngine(
            infer, EngineSettings(execution_horizon=6), dt=1.0, reset_policy=lambda: None, end=lambda: None,
            worker=worker, kinds=kinds_of(said, ("arm", "base")),
        )  # fmt: skip
        engine.resume()
        found = []
        for step in range(HORIZON + 4):
            if step == 1:
                worker.finish()
            engine.notify_observation({"step": step})
            action = engine.get_action(None)
            found.append(None if action is None else action.tolist())
        engine.reset()
        engine.notify_observation({"step": 0})
        assert engine.get_action(None) is None, "nothing is known of the new episode yet"
        return found

    moving = [[0.5, pytest.approx(0.3)]] * HORIZON
    assert taken({"base": "velocity"}) == [None, *moving, *[[0.5, 0.0]] * 3]
    assert taken({}) == [None, *moving, *[None] * 3]
    assert kinds_of({"base": "velocity"}, ("arm", "base")) == Dimensions.of("linear", "velocity")
    with pytest.raises(SpecError, match="'bsae'"):
        kinds_of({"bsae": "velocity"}, ("arm", "base"))
