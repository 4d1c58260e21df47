from pathlib import Path

import numpy as np
import pytest

from segue.core.observation import state_of
from segue.data import bundled
from segue.data.episodes import Episodes
from segue.lab.tasks import adroit_pen, demonstrator
from segue.lab.tasks.adroit_pen import DROPPED, HEIGHT, HELD, JOINTS, KEPT_AFTER_SUCCESS, AdroitPen, Expert, play
from segue.lab.twins import Followed


@pytest.fixture(scope="module")
def pen() -> AdroitPen:
    return AdroitPen()


@pytest.fixture(scope="module")
def recorded() -> Episodes:
    return adroit_pen.record(episodes=3, seed=0)


def columns(name: str) -> list[int]:
    return [adroit_pen.OBSERVATION.index(f"{name} {axis}") for axis in "xyz"]


def test_the_joint_names_are_those_of_the_model(pen: AdroitPen):
    model = pen._env.model
    assert [model.joint(i).name for i in range(len(JOINTS))] == list(JOINTS)
    assert [model.actuator(i).name for i in range(model.nu)] == [f"A_{name}" for name in JOINTS]


def test_the_observation_is_what_its_names_say(pen: AdroitPen):
    pen.reset(3)
    for action in np.random.default_rng(0).uniform(-0.3, 0.3, (10, len(JOINTS))):
        pen.send(action)
    seen, data = pen.observe(), pen._env.data
    sites = {name: data.site(name).xpos for name in ("object_top", "object_bottom", "target_top", "target_bottom")}
    direction = sites["object_top"] - sites["object_bottom"]
    wanted = sites["target_top"] - sites["target_bottom"]
    direction, wanted = direction / np.linalg.norm(direction), wanted / np.linalg.norm(wanted)
    place = data.body("Object").xpos
    named = {
        "pen": place,
        "pen velocity": [data.joint(f"OBJT{axis}").qvel[0] for axis in "xyz"],
        "pen turning": [data.joint(f"OBJR{axis}").qvel[0] for axis in "xyz"],
        "pen direction": direction,
        "wanted direction": wanted,
        "pen to its place": place - data.site("eps_ball").xpos,
        "pen to wanted direction": direction - wanted,
    }
    for name, value in named.items():
        np.testing.assert_allclose(seen[columns(name)], value, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(pen.pose(), [data.joint(name).qpos[0] for name in JOINTS])


def test_success_is_to_lie_as_it_should_for_21_steps(pen: AdroitPen):
    expert, held = Expert(), 0
    pen.reset(1)
    while not pen.outcome().finished:
        pen.send(pen.spec.clip(expert(pen.raw)))
        place, direction, wanted = (
            pen.raw[columns(name)] for name in ("pen to its place", "pen direction", "wanted direction")
        )
        held += bool(np.linalg.norm(place) < 0.075 and direction @ wanted > 0.95)
        assert pen.outcome().success == (held >= HELD)
        assert pen.outcome().score == pytest.approx(held / HELD)
    assert held == HELD


def test_nothing_moves_before_the_first_action(pen: AdroitPen):
    pen.reset(2)
    before = pen.observe()
    for _ in range(8):
        pen.hold()
        np.testing.assert_array_equal(pen.observe(), before)
    action = np.full(len(JOINTS), 0.1, np.float32)
    pen.send(action)
    after = pen.observe()
    pen.hold()
    held = pen.observe()
    assert not np.array_equal(held, after), "after the first action a hold is the last one once more"
    pen.reset(2)
    pen.send(action)
    np.testing.assert_array_equal(pen.observe(), after)
    pen.send(action)
    np.testing.assert_array_equal(pen.observe(), held)


def test_a_pen_that_drops_ends_the_episode(pen: AdroitPen):
    pen.reset(0)
    for _ in range(adroit_pen.MAX_STEPS):
        pen.send(np.where(np.arange(len(JOINTS)) == 0, 1.0, -1.0))  # an open hand, tilted to the side
        assert pen.outcome().finished == (pen.raw[HEIGHT] < DROPPED)
        if pen.outcome().finished:
            break
    assert pen.raw[HEIGHT] < DROPPED
    assert not pen.outcome().success


def test_the_expert_is_the_published_one_and_brings_its_licence():
    folder = bundled.FILES / "adroit_pen"
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "Licence: Apache-2.0" in (folder / "SOURCE.md").read_text()
    expert = Expert()
    assert expert.noise.shape == (len(JOINTS),)
    assert ((expert.noise > 0.05) & (expert.noise < 0.6)).all()


def test_the_expert_succeeds_on_most_seeds_without_its_noise(pen: AdroitPen):
    expert, successes = Expert(), 0
    for seed in range(8):
        pen.reset(seed)
        play(pen, expert, np.random.default_rng(0), noise=0.0)
        successes += pen.outcome().success
    assert successes >= 5


def test_demonstrations_succeed_repeat_and_keep_to_the_limits(recorded: Episodes, pen: AdroitPen):
    again = adroit_pen.record(episodes=3, seed=0)
    np.testing.assert_array_equal(again.observation, recorded.observation)
    np.testing.assert_array_equal(again.action, recorded.action)
    assert (len(recorded), recorded.dt) == (3, adroit_pen.TASK.dt)
    assert recorded.observation_names == pen.spec.observation_names
    assert recorded.action_names == pen.spec.action_names
    assert np.abs(recorded.action).max() <= 1
    for episode in recorded:
        place, direction = (episode.observation[:, columns(name)] for name in ("pen to its place", "pen direction"))
        cosine = (direction * episode.observation[:, columns("wanted direction")]).sum(axis=1)
        lies = (np.linalg.norm(place, axis=1) < 0.075) & (cosine > 0.95)
        # The frame after the 21st such step is the first of those that are kept after success
        assert lies[:-KEPT_AFTER_SUCCESS].sum() == HELD - 1
        assert lies[-KEPT_AFTER_SUCCESS]


def test_the_recorded_action_is_the_experts_own_and_not_what_moved_the_hand(recorded: Episodes, pen: AdroitPen):
    expert = Expert()
    for seen, action in zip(recorded.observation[:40], recorded.action[:40], strict=True):
        np.testing.assert_allclose(action, np.clip(expert(seen.astype(np.float64)), -1, 1), atol=1e-4)
    pen.reset(1)
    observation, action = play(pen, expert, np.random.default_rng(0))
    pen.reset(1)
    pen.send(action[0])
    assert not np.allclose(pen.observe()[: len(JOINTS)], observation[1, : len(JOINTS)], atol=1e-3)


def test_a_clean_episode_replays_to_success(pen: AdroitPen):
    pen.reset(1)
    observation, action = play(pen, Expert(), np.random.default_rng(0), noise=0.0)
    assert pen.outcome().success
    pen.reset(1)
    for seen, one in zip(observation, action, strict=True):
        np.testing.assert_array_equal(pen.observe(), seen)
        pen.send(one)
    assert pen.outcome().success


def test_evaluation_never_meets_a_demonstrations_initial_state(pen: AdroitPen):
    wanted = []
    for seed in range(5):
        pen.reset(seed)
        wanted.append(tuple(pen.observe()[columns("wanted direction")]))
        pen.start(np.random.default_rng([demonstrator.DEMONSTRATION, 0, seed]))
        wanted.append(tuple(pen.observe()[columns("wanted direction")]))
    assert len(set(wanted)) == len(wanted)


def test_the_twin_of_a_pen_foresees_it():
    robot = Followed(AdroitPen(), AdroitPen())
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (20, len(JOINTS))).astype(np.float32)
    robot.reset(5)
    for first in (0, 8):
        foreseen = state_of(robot.after(actions[first : first + 8]))
        for action in actions[first : first + 8]:
            robot.send(action)
        np.testing.assert_array_equal(foreseen, state_of(robot.observe()))


def test_demonstrations_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path))
    made = adroit_pen.demonstrations(episodes=1)
    monkeypatch.setattr(adroit_pen, "record", lambda *_: pytest.fail("made again"))
    np.testing.assert_array_equal(adroit_pen.demonstrations(episodes=1).observation, made.observation)
