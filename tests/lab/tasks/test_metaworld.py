import numpy as np
import pytest

from segue.errors import UnknownNameError
from segue.lab.tasks import metaworld
from segue.lab.tasks.metaworld import MetaWorld


@pytest.fixture(scope="module")
def peg() -> MetaWorld:
    return MetaWorld("peg-insert-side")


def test_all_of_metaworlds_tasks_are_listed():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert sorted(f"{name}-v3" for name in metaworld.TASKS) == sorted(ALL_V3_ENVIRONMENTS)


def test_unknown_metaworld_task_names_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'pick-place'"):
        MetaWorld("pick-plac")


def test_the_goal_is_visible(peg: MetaWorld):
    peg.reset(0)
    goal = [i for i, name in enumerate(peg.spec.observation_names) if name.startswith("goal")]
    for _ in range(3):
        np.testing.assert_allclose(peg.observe()[goal], peg._env._target_pos, atol=1e-6)
        peg.hold()


def test_the_past_is_what_was_seen_one_step_before(peg: MetaWorld):
    names = peg.spec.observation_names
    now = [i for i, name in enumerate(names) if f"{name} before" in names]
    before = [names.index(f"{names[i]} before") for i in now]
    peg.reset(3)
    last = peg.observe()
    np.testing.assert_array_equal(last[now], last[before])
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 4)):
        peg.send(action)
        np.testing.assert_array_equal(peg.observe()[before], last[now])
        last = peg.observe()


def test_hold_stops_the_tool_and_keeps_the_gripper(peg: MetaWorld):
    peg.reset(0)
    for _ in range(10):
        peg.send(np.array([1, 0, 0, 1], np.float32))
    closed = peg.observe()[3]
    for _ in range(60):
        peg.hold()
    still = peg.pose()
    peg.hold()
    assert np.linalg.norm(peg.pose() - still) < 1e-4
    assert peg.observe()[3] <= closed


def test_one_unit_moves_the_tool_one_centimetre(peg: MetaWorld):
    peg.reset(0)
    for _ in range(60):
        peg.hold()
    start = peg.pose()
    for _ in range(10):
        peg.send(np.array([0.5, 0, 0, -1], np.float32))
    for _ in range(60):
        peg.hold()
    np.testing.assert_allclose(peg.pose() - start, [10 * 0.5 * metaworld.STEP, 0, 0], atol=3e-3)


def test_tasks_with_two_objects_show_both():
    hammer = MetaWorld("hammer")
    names = hammer.spec.observation_names
    second = [i for i, name in enumerate(names) if name.startswith("second object") and "before" not in name]
    np.testing.assert_allclose(hammer.observe()[second], hammer._env._get_pos_objects()[3:], atol=1e-6)
