"""The plugin's engine as one of LeRobot's, of 0.6.1 and of the next, and the trace that it leaves."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fakes import leftover_contract as contract
from fakes import lerobot as fakes
from fakes.lerobot_plugin import engine, policy_of_theirs
from segue.errors import DataError
from segue.trace.file import read
from segue.trace.measures import robot_spec
from segue.trace.summary import summarise_run


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[ModuleType]:
    with fakes.installed():
        import lerobot_policy_segue  # pyright: ignore[reportMissingImports]

        yield lerobot_policy_segue


def chunks_of_a_fixed_policy(seen: list[str]) -> Any:
    """A policy of chunks that notes the task of every one."""
    made = policy_of_theirs("act", n_obs_steps=1)

    def predict_action_chunk(batch: Any) -> torch.Tensor:
        seen.append(batch["task"][0])
        return torch.arange(2.0 * contract.HORIZON).view(1, contract.HORIZON, 2) / 100

    made.predict_action_chunk = predict_action_chunk
    made.reset = lambda: None
    return made


def driven(made: Any, steps: int) -> list[Any]:
    """Actions of so many steps; every inference is waited for, as the last call of its step."""
    made.start()
    made.resume()
    taken = []
    for _ in range(steps):
        made.notify_observation({"x.pos": 0.0, "y.pos": 0.0})
        taken.append(made.get_action(None))
        made.plan._link._worker.submit(lambda: None).result()
    return [each for each in taken if each is not None]


def test_a_rollout_leaves_a_trace(plugin: ModuleType, tmp_path: Path) -> None:
    made = engine(plugin, chunks_of_a_fixed_policy([]), trace=str(tmp_path / "trace"), execution_horizon=6)
    actions = driven(made, 30)
    made.stop()
    trace = read(tmp_path / "trace")
    sent = trace.ticks["action"][~np.isnan(trace.ticks["action"]).any(1)]
    np.testing.assert_allclose(sent, torch.stack(actions).numpy(), atol=1e-6)
    assert len(trace.chunks) >= 4
    assert robot_spec(trace).action_names == ("y.pos", "x.pos")
    assert summarise_run(trace).rate > 0
    with pytest.raises(DataError, match="a new folder"):
        engine(plugin, chunks_of_a_fixed_policy([]), trace=str(tmp_path / "trace"))


def test_the_engine_is_one_of_lerobot_s(plugin: ModuleType) -> None:
    made = engine(plugin, chunks_of_a_fixed_policy([]))
    assert isinstance(made, fakes.InferenceEngine)
    assert (made.ready, made.failed) == (True, False)
    made.pause()
    made.notify_observation({"x.pos": 0.0, "y.pos": 0.0})
    assert made.get_action(None) is None


def test_the_next_lerobot_changes_the_task_and_asks_questions() -> None:
    with fakes.installed("0.6.2"):
        import lerobot_policy_segue as newer  # pyright: ignore[reportMissingImports]

        seen: list[str] = []
        made = engine(newer, chunks_of_a_fixed_policy(seen), execution_horizon=4)
        assert isinstance(made, fakes.NewerInferenceEngine)
        driven(made, 6)
        assert set(seen) == {"t"}
        assert made.dispatched_task == "t"
        assert made.set_task("u")
        assert made.dispatched_task == "t"
        driven(made, 10)
        assert seen[-1] == "u"
        assert made.dispatched_task == "u"
        assert made.ask("where is the cup?")
        assert not made.pump_query({"x.pos": 0.0})
        assert made.drop_pending_query() == "where is the cup?"
        made.set_task("v")
        made.reset()
        assert made.dispatched_task == "v"
        made.stop()
