"""The timing script of peers: both ways to evaluate do the same."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.bundled import adroit_door
from segue.policies.families import config_for, policy_for

pytest.importorskip("mujoco")
PEERS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "peers.py"))


def test_a_rollout_and_a_plain_loop_bring_robots_to_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, Any] = PEERS["evaluating"].__globals__
    monkeypatch.setitem(sizes, "EPISODES", 2)
    monkeypatch.setitem(sizes, "STEPS", 10)
    episodes = adroit_door()
    policy = policy_for(config_for("flow", episodes, horizon=32, network_settings={"width": 8, "depth": 1}), episodes)
    work, robots = PEERS["evaluating"](policy.eval())
    work["plain loop"]()
    last = [robot.pose() for robot in robots]
    records = work["rollout"]()
    assert [len(each.commands) for each in records] == [10, 10]
    np.testing.assert_allclose(
        [each.measured[-1] for each in records], last, atol=1e-4
    )  # networks round with the batch
