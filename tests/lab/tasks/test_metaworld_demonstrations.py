from pathlib import Path

import numpy as np
import pytest

from segue.core.robot import Outcome
from segue.data.episodes import Episodes
from segue.errors import DataError
from segue.lab.tasks import demonstrator
from segue.lab.tasks import metaworld_demonstrations as scripted
from segue.lab.tasks.metaworld import MetaWorld


@pytest.fixture(scope="module")
def reach() -> Episodes:
    return scripted.record("reach", episodes=4, seed=0)


def test_the_experts_episodes_succeed_and_repeat(reach: Episodes):
    again = scripted.record("reach", episodes=4, seed=0)
    np.testing.assert_array_equal(again.observation, reach.observation)
    np.testing.assert_array_equal(again.action, reach.action)
    assert len(reach) == 4
    assert np.abs(reach.action).max() <= 1


def test_recorded_observations_are_those_the_action_was_chosen_on(reach: Episodes):
    simulator = MetaWorld("reach")
    assert reach.observation_names == simulator.spec.observation_names
    names = reach.observation_names
    tool, before = [names.index("tool x")], [names.index("tool x before")]
    for episode in reach:
        np.testing.assert_array_equal(episode.observation[1:, before], episode.observation[:-1, tool])


def test_a_clean_episode_replays_to_success():
    simulator = MetaWorld("peg-insert-side")
    style = scripted.Style(speed=0.9, side=0.05, height=0.02, noise=0.0)
    expert = scripted.scripted_expert("peg-insert-side")
    simulator.reset(0)
    start = simulator.observe()
    observation, action = scripted.play(simulator, expert, style, np.random.default_rng(0))
    assert simulator.outcome() == Outcome(True, 1.0, True)
    np.testing.assert_array_equal(observation[0], start)
    simulator.reset(0)
    successes = []
    for one in action:
        successes.append(simulator.outcome().success)
        simulator.send(one)
    assert simulator.outcome().success
    # Success is first seen with KEPT_AFTER_SUCCESS frames still to come
    assert sum(successes) == scripted.KEPT_AFTER_SUCCESS


def test_the_recorded_action_is_free_of_the_injected_noise():
    simulator = MetaWorld("reach")
    expert = scripted.scripted_expert("reach")
    style = scripted.Style(speed=1.0, side=0.05, height=0.0, noise=0.3)
    simulator.reset(0)
    observation, action = scripted.play(simulator, expert, style, np.random.default_rng(0))
    tool = observation[:, :3].astype(np.float64)
    via = scripted._via_point(np.append(observation[0], np.zeros(39)), style)
    # Until the via point, the recorded action points from the measured tool straight to it
    for step in range(3):
        way = via - tool[step]
        cosine = action[step, :3] @ way / np.linalg.norm(action[step, :3]) / np.linalg.norm(way)
        assert cosine == pytest.approx(1, abs=1e-6)


def test_both_sides_and_several_speeds_are_drawn():
    styles = [scripted.draw_style("reach", np.random.default_rng(seed)) for seed in range(50)]
    assert {np.sign(style.side) for style in styles} == {-1, 1}
    assert {style.noise > 0 for style in styles} == {False, True}
    assert min(style.speed for style in styles) < 0.7 < 0.9 < max(style.speed for style in styles)


def test_evaluation_never_meets_a_demonstrations_initial_state():
    simulator = MetaWorld("reach")
    goals = []
    for seed in range(5):
        simulator.reset(seed)
        goals.append(tuple(simulator.observe()[-3:]))
        simulator.start(np.random.default_rng([demonstrator.DEMONSTRATION, 0, seed]))
        goals.append(tuple(simulator.observe()[-3:]))
    assert len(set(goals)) == len(goals)


def test_demonstrations_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path))
    made = scripted.demonstrations("reach", episodes=1)
    (path,) = tmp_path.rglob("*.npz")
    written = path.read_bytes()
    monkeypatch.setattr(scripted, "record", lambda *_: pytest.fail("made again"))
    again = scripted.demonstrations("reach", episodes=1)
    np.testing.assert_array_equal(again.observation, made.observation)
    assert path.read_bytes() == written


def test_an_expert_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scripted, "scripted_expert", lambda _: lambda raw: np.zeros(4))
    monkeypatch.setattr(scripted, "MAX_STEPS", 3)
    with pytest.raises(DataError, match="0 successes"):
        scripted.record("peg-insert-side", episodes=1, seed=0)


@pytest.mark.parametrize("task", ["door-open", "shelf-place"])
def test_experts_that_cannot_cope_with_every_style_still_demonstrate(task: str):
    assert len(scripted.record(task, episodes=1, seed=0)) == 1
