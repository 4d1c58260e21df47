"""Environments of Gymnasium as tasks: made here, so that every number that they show is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs import registration
from gymnasium.spaces import Box, Dict, Discrete

from fakes.own_modules import written
from segue.core.robot import Simulator, check_robot
from segue.data import episodes as archives
from segue.data.episodes import Episodes
from segue.errors import DataError, SegueError, SpecError, UnknownNameError
from segue.lab.tasks import gymnasium_task
from segue.lab.tasks.gymnasium_task import with_data
from segue.lab.tasks.tasks import task

UNIT = Box(-1, 1, (2,), np.float32)
NUMBERS = Box(-np.inf, np.inf, (2,), np.float64)


class Cart(gymnasium.Env[Any, Any]):
    """A point that goes where the sum of its actions says; solved beyond 2, over after 7 steps or beyond 3."""

    def __init__(self, actions: Any = UNIT, observations: Any = NUMBERS, rate: Any = None, dt: Any = 0.1) -> None:
        self.action_space, self.observation_space = actions, observations
        self.metadata = {"render_modes": [], "render_fps": rate}
        if dt:
            self.dt = dt

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.where, self.taken = self.np_random.uniform(-0.5, 0.5, 2), []
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.where, _ = self.where + np.ravel(action)[:2], self.taken.append(np.array(action))
        return self.seen(), 0.0, bool(self.where[0] > 3), False, {"done": self.where[0] > 2}

    def seen(self) -> Any:
        parts = {"goal": np.ones(1, np.float32), "view": np.full((4, 6, 3), 7, np.uint8), "a": self.where}
        spaces = getattr(self.observation_space, "spaces", None)
        if spaces is None:
            return self.where
        return {key: {"deep": parts["goal"]} if isinstance(each, Dict) else parts[key] for key, each in spaces.items()}


MAKER: Any = Cart


@pytest.fixture(autouse=True)
def environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", registration.registry)
    gymnasium_task.task.cache_clear()
    gymnasium_task._read.cache_clear()


def named(**settings: Any) -> str:
    gymnasium.registry.pop("Cart-v0", None)
    gymnasium.register("Cart-v0", entry_point=MAKER, max_episode_steps=7, kwargs=settings, disable_env_checker=True)
    return "gymnasium:Cart-v0"


def simulator(name: str) -> Any:
    made = task(name).simulator()
    assert isinstance(made, Simulator)
    return made


def test_names_limits_and_times_are_those_of_the_environment() -> None:
    found = task(named())
    spec = found.simulator().spec
    assert (found.dt, found.max_steps, found.name) == (0.1, 7, "gymnasium:Cart-v0")
    assert (spec.observation_names, spec.action_names) == (("observation 0", "observation 1"), ("action 0", "action 1"))
    np.testing.assert_array_equal((spec.action_low, spec.action_high), [[-1, -1], [1, 1]])
    assert found.code == (Cart,)
    check_robot(found.simulator())


def test_it_goes_where_it_is_sent_and_says_when_it_is_solved_and_over() -> None:
    robot = simulator(f"{named()}:success=done")
    robot.reset(3)
    start = robot.pose()
    robot.reset(3)
    np.testing.assert_array_equal(robot.pose(), start)
    solved, finished = [], []
    for _ in range(5):
        robot.send(np.array([2.0, 0.0]))  # clipped to 1
        solved.append(robot.outcome().success)
        finished.append(robot.outcome().finished)
    steps = np.flatnonzero(start[0] + np.arange(1, 6) > 2)
    assert solved == [step >= steps[0] for step in range(5)]
    assert finished == solved
    over = int(np.flatnonzero(start[0] + np.arange(1, 6) > 3)[0]) + 1
    np.testing.assert_allclose(robot.observe(), start + np.array([over, 0]), atol=1e-6)  # no step after the end


def test_a_hold_repeats_positions_and_zeros_velocities() -> None:
    for command, expected in (("position", [0.5, 0.5]), ("velocity", [0.5, 0.0])):
        robot = simulator(f"{named()}:command={command}")
        assert robot.spec.command == command
        robot.send(np.array([0.5, 0.5]))
        robot.hold()
        np.testing.assert_allclose([each[0] for each in robot.environment.unwrapped.taken], expected)
        np.testing.assert_allclose(robot.rest(), np.full(2, expected[1]))


def test_the_boxes_of_a_dict_are_joined_by_name_and_pictures_are_cameras() -> None:
    view = Box(0, 255, (4, 6, 3), np.uint8)
    space = Dict({"view": view, "goal": Dict({"deep": Box(0, 1, (1,), np.float32)}), "a": NUMBERS})
    robot = simulator(named(observations=space))
    assert robot.spec.observation_names == ("a 0", "a 1", "goal/deep 0")
    assert robot.spec.cameras == {"view": (4, 6)}
    seen = robot.observe()
    np.testing.assert_array_equal(seen.state[2:], [1])
    assert seen.pictures["view"].max() == 7
    check_robot(robot)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"actions": Discrete(3)}, "Discrete actions"),
        ({"actions": Box(-np.inf, 1, (2,))}, "unbounded actions"),
        ({"observations": Discrete(3)}, "observations of Discrete"),
        ({"observations": Dict({"a": NUMBERS, "mode": Discrete(2)})}, "observations of Discrete under 'mode'"),
        ({"observations": Box(0, 255, (4, 6, 3), np.uint8)}, "pictures alone"),
        ({"dt": None}, "its control period"),
        ({"nonsense": 1}, "cannot be made"),
    ],
)
def test_what_cannot_be_a_task_is_refused_with_a_reason(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        task(named(**settings)).simulator()


def test_times_come_from_the_name_the_environment_or_its_pictures() -> None:
    assert task(named(dt=0.04, rate=10)).dt == 0.04
    assert task(f"{named(dt=0.04)}:dt=0.5:steps=11").dt == 0.5
    assert task("gymnasium:Cart-v0:steps=11").max_steps == 11
    gymnasium_task.task.cache_clear()
    assert task(named(dt=None, rate=10)).dt == 0.1
    gymnasium.register("Endless-v0", entry_point=MAKER)
    with pytest.raises(SpecError, match=r"Endless-v0:steps=200"):
        task("gymnasium:Endless-v0")


@pytest.mark.parametrize("setting", ["dt=no", "dt=nan", "steps=0", "steps=-3", "dt=inf"])
def test_a_setting_that_is_no_positive_number_is_refused(setting: str) -> None:
    with pytest.raises(SpecError, match="a positive number"):
        task(f"{named()}:{setting}")


def test_unknown_environments_settings_and_keys_of_success_suggest_close_ones() -> None:
    robot = simulator(f"{named()}:success=dome")
    for _ in range(6):
        robot.send(np.zeros(2))
    with pytest.raises(UnknownNameError, match="did you mean 'done'"):
        robot.send(np.zeros(2))
    with pytest.raises(UnknownNameError, match="did you mean 'Cart-v0'"):
        task("gymnasium:Cart-v1")
    with pytest.raises(UnknownNameError, match="did you mean 'success'"):
        task("gymnasium:Cart-v0:sucess=done")


def test_a_number_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = simulator(named())
    monkeypatch.setattr(Cart, "seen", lambda self: np.array([0, np.nan]))
    with pytest.raises(SpecError, match="'observation 1' of Cart-v0 is not finite"):
        robot.send(np.zeros(2))


def test_without_a_renderer_there_is_no_picture() -> None:
    with pytest.raises(SegueError, match="rgb_array"):
        simulator(named()).frame()


def demonstrated() -> Episodes:
    rng = np.random.default_rng(0)
    return Episodes(
        observation=rng.normal(size=(9, 2)).astype(np.float32), action=rng.normal(size=(9, 2)).astype(np.float32),
        ends=np.array([4, 9]), dt=0.1, observation_names=("my x", "my y"), action_names=("go x", "go y"),
        state_of_action=(0, 1), source="made by the tests",
    )  # fmt: skip


def test_demonstrations_are_the_users_in_the_names_of_the_environment(tmp_path: Path) -> None:
    archives.save(demonstrated(), tmp_path / "mine.npz")
    found = task(with_data(named(), tmp_path / "mine.npz"))
    assert found.name == f"gymnasium:Cart-v0:data={tmp_path / 'mine.npz'}"
    own = found.demonstrations()
    assert own.observation_names == found.simulator().spec.observation_names
    np.testing.assert_array_equal(own.action, demonstrated().action)


def test_without_demonstrations_or_with_those_of_another_environment_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data FILE"):
        task(named()).demonstrations()
    with pytest.raises(DataError, match="--data with the task push-t"):
        with_data("push-t", tmp_path)
    archives.save(replace(demonstrated(), dt=0.2), tmp_path / "slow.npz")
    with pytest.raises(DataError, match=r"5\.0 Hz"):
        task(with_data("gymnasium:Cart-v0", tmp_path / "slow.npz")).demonstrations()
    one = {"observation": np.zeros((9, 1), np.float32), "observation_names": ("x",), "state_of_action": (None, None)}
    archives.save(replace(demonstrated(), **one), tmp_path / "few.npz")
    with pytest.raises(DataError, match="1 observations"):
        task(with_data("gymnasium:Cart-v0", tmp_path / "few.npz")).demonstrations()


MODULE = """
import gymnasium
import numpy as np
from segue.lab import Task
class Env(gymnasium.Env):
    action_space = observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    dt = 0.25
gymnasium.register("own_environments/Mine-v0", entry_point=Env, max_episode_steps=3)
TASK = Task("mine", "a task", 0.1, 20, 8, 3, lambda: None, lambda: None)
def make():
    return TASK
NUMBER = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("own_environments", MODULE, tmp_path, monkeypatch)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("id_", ["own_environments/Mine-v0", "own_environments:own_environments/Mine-v0"])
def test_a_module_that_registers_environments_is_imported(id_: str) -> None:
    assert task(f"gymnasium:{id_}:steps=5").max_steps == 5
    with pytest.raises(SpecError, match="no module 'nowhere_at_all'"):
        task("gymnasium:nowhere_at_all/Mine-v0")


@pytest.mark.usefixtures("module")
def test_a_task_of_a_module_has_the_name_that_it_is_found_by() -> None:
    for name in ("own_environments:TASK", "own_environments:make"):
        found = task(name)
        assert (found.name, found.horizon, task(found.name).name) == (name, 8, name)
        assert [each.__module__ for each in found.code] == ["own_environments"]
    with pytest.raises(SpecError, match="which is int"):
        task("own_environments:NUMBER")
    with pytest.raises(UnknownNameError, match="did you mean 'TASK'"):
        task("own_environments:TASKS")
