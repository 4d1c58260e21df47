"""Something that comes between: when, how much, and that nothing of it is left in the next episode."""

import json
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

from fakes.point_mass import SPEC, PointMass, demonstrations, recipe
from segue.core.observation import state_of
from segue.core.robot import Disturbable
from segue.errors import SpecError, UnknownNameError
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing
from segue.lab.tasks import push_t
from segue.lab.tasks.adroit_door import SHIFT, AdroitDoor
from segue.lab.tasks.disturbances import KINDS, LEAST, Disturbance, Disturbed, Kind
from segue.lab.tasks.metaworld import MetaWorld
from segue.lab.tasks.push_t import PushT
from segue.lab.tasks.tasks import Task
from segue.methods.methods import method, objective
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import train_policy

BENCHMARK = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "disturbances.py"))
QUIET = Console(quiet=True)


class Pushed(PointMass):
    """A point mass that is moved with its goal; keeps what was done to it, by step."""

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.step, self.refusals = 0, 2
        self.done: list[tuple[str, int]] = []
        self.off = np.zeros(2)

    def push(self, size: NDArray[np.float64]) -> None:
        self.done.append(("push", self.step))
        self.off = 0.2 * size[:2]

    def shift(self, size: NDArray[np.float64]) -> bool:
        self.done.append(("shift", self.step))
        self.refusals -= 1
        if self.refusals >= 0:
            return False
        self.goal = np.clip(self.goal + 0.2 * size[:2], -0.8, 0.8)
        return True

    def send(self, action: NDArray) -> None:
        super().send(action)
        self.position = self.position + self.off
        self.off, self.step = np.zeros(2), self.step + 1


SIMULATORS = {"adroit-door": AdroitDoor, "push-t": PushT, "peg-insert-side": lambda: MetaWorld("peg-insert-side")}


@cache
def simulator(name: str) -> Disturbable:
    return SIMULATORS[name]()


def seen(robot: Any, seed: int, steps: int) -> NDArray[np.float32]:
    """Observations of an episode that holds."""
    robot.reset(seed)
    states = [state_of(robot.observe())]
    for _ in range(steps):
        robot.hold()
        states.append(state_of(robot.observe()))
    return np.stack(states)


@given(st.integers(0, 10_000), st.integers(0, 50), st.integers(0, 50), st.floats(0.1, 3))
def test_step_and_size_are_within_their_bounds(seed: int, earliest: int, more: int, size: float) -> None:
    disturbance = Disturbance("push", earliest, earliest + more, size=size)
    step, drawn = disturbance.drawn(seed)
    assert earliest <= step <= earliest + more
    assert LEAST * size <= np.linalg.norm(drawn) * (1 + 1e-9)
    assert np.linalg.norm(drawn) <= size * (1 + 1e-9)


def test_an_episode_is_disturbed_as_its_seed_says() -> None:
    one, other = Disturbance("push", 5, 40), Disturbance("shift", 5, 40)
    drawn = [one.drawn(seed) for seed in range(20)]
    for seed, (step, size) in enumerate(drawn):
        again, same = other.drawn(seed)
        assert step == again
        assert np.array_equal(size, same)
    assert len({step for step, _ in drawn}) > 5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("push", [("push", 4), ("push", 5), ("push", 6)]),
        ("load", [("push", step) for step in range(4, 12)]),
        # twice it is refused, and a third time not any more
        ("shift", [("shift", 4), ("shift", 5), ("shift", 6)]),
    ],
)
def test_each_kind_acts_in_its_steps(kind: Kind, expected: list[tuple[str, int]]) -> None:
    robot = Pushed()
    disturbed = Disturbed(robot, Disturbance(kind, 4, 4, lasts=3))
    for _ in range(2):  # in the second episode as in the first
        seen(disturbed, 1, 12)
        assert robot.done == expected
        assert disturbed.happened == (6 if kind == "shift" else 4)


def test_nothing_has_happened_to_an_object_that_never_lies_free() -> None:
    disturbed = Disturbed(Pushed(), Disturbance("shift", 4, 4))
    seen(disturbed, 1, 6)
    assert disturbed.happened is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SIMULATORS)
def test_an_episode_is_another_one_from_the_disturbance_on_and_the_next_is_not(name: str, kind: Kind) -> None:
    robot, steps = simulator(name), 12
    assert isinstance(robot, Disturbable)
    calm = seen(robot, 3, steps)
    disturbed = Disturbed(robot, Disturbance(kind, 6, 6, lasts=2))
    states = seen(disturbed, 3, steps)
    assert disturbed.happened == 6
    assert np.array_equal(states[:7], calm[:7])
    assert not np.array_equal(states[7], calm[7])
    assert np.isfinite(states).all()
    assert np.array_equal(seen(robot, 3, steps), calm)


def test_a_load_on_the_disc_is_where_it_comes_to_rest() -> None:
    board, size = PushT(), np.array([0.3, -0.4, 0.0])
    board.restore(np.array([100, 100, 400, 400, 0]))
    for _ in range(40):
        board.push(size)
        board.hold()
    np.testing.assert_allclose(board.pose() - 100, push_t.PUSH * size[:2], atol=0.1)
    for _ in range(40):
        board.hold()
    np.testing.assert_allclose(board.pose(), 100, atol=0.1)


def test_the_t_is_moved_and_turned_while_the_disc_is_elsewhere() -> None:
    board, size = PushT(), np.array([0.5, -0.5, 1.0])
    board.restore(np.array([100, 100, 300, 300, 0.2]))
    assert board.shift(size)
    moved = board.observe()
    board.restore(np.array([100, 100, 300 + 0.5 * push_t.SHIFT, 300 - 0.5 * push_t.SHIFT, 0.2 + push_t.TURN]))
    np.testing.assert_allclose(moved, board.observe(), atol=1e-3)


def test_the_t_stays_on_the_board() -> None:
    board = PushT()
    board.restore(np.array([100, 100, 400, 400, 0]))
    assert board.shift(np.array([9.0, 0.0, 0.0]))
    assert board._env.block.position.x == push_t.BOARD - push_t.MARGIN


def test_the_t_is_left_alone_while_the_disc_touches_it() -> None:
    board = PushT()
    board.restore(np.array([300, 300, 300, 300, 0]))
    before = board.observe()
    assert not board.shift(np.array([1.0, 0.0, 0.0]))
    assert np.array_equal(board.observe(), before)


def test_the_handle_moves_with_the_door() -> None:
    door, size = AdroitDoor(), np.array([0.4, -0.4, 0.2])
    handle = [door.spec.observation_names.index(f"handle {axis}") for axis in "xyz"]
    door.restore(np.array([-0.25, 0.3, 0.3]))
    door.hold()
    before = door.observe()[handle]
    door.restore(np.array([-0.25, 0.3, 0.3]))
    assert door.shift(size)
    door.hold()
    np.testing.assert_allclose(door.observe()[handle] - before, SHIFT * size, atol=1e-4)


def test_an_object_is_moved_over_the_table_and_not_out_of_reach() -> None:
    robot = simulator("peg-insert-side")
    columns = [robot.spec.observation_names.index(f"object {axis}") for axis in "xyz"]
    robot.reset(5)
    before = state_of(robot.observe())[columns]
    for _ in range(20):
        assert robot.shift(np.array([1.0, 1.0, 5.0]))
    robot.hold()
    after = state_of(robot.observe())[columns]
    space = robot._env._random_reset_space  # type: ignore[attr-defined]
    assert (after[:2] > before[:2]).all()
    assert (after - before <= space.high[:3] - space.low[:3] + 1e-3).all()
    assert abs(after[2] - before[2]) < 5e-3


def test_a_task_without_anything_loose_says_so() -> None:
    with pytest.raises(SpecError, match="nothing lies loose"):
        MetaWorld("drawer-open").shift(np.ones(3))


@pytest.mark.parametrize("settings", [(5, 4, 1, 1.0), (-1, 4, 1, 1.0), (0, 4, 0, 1.0), (0, 4, 1, 0.0)])
def test_what_cannot_happen_is_refused(settings: tuple[int, int, int, float]) -> None:
    with pytest.raises(SpecError):
        Disturbance("push", *settings)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="earthquake"):
        Disturbance("earthquake", 0, 1)  # type: ignore[arg-type]


def test_the_benchmark_rolls_out_every_row_under_every_disturbance(tmp_path: Path) -> None:
    train_policy(demonstrations(), recipe(), "plain", objective("plain"), run=tmp_path, console=QUIET)
    training = PredictorTraining(updates=5, batch=16, held_out_every=3)
    predictor = train_predictor(demonstrations(), training, run=tmp_path / "predictor", width=8, console=QUIET)
    setting = BENCHMARK["Setting"](
        task=Task("pushed", "a point mass that is pushed", SPEC.dt, 24, 8, 3, Pushed, demonstrations),
        method=method("naive:noise=carried"),
        timing=Timing(8, 3, Fixed(2), method("naive").handover, 24),
        scales=Scales.of(demonstrations(), SPEC),
        seeds=(1, 2),
        size=1.0,
        kinds=("none", *KINDS),
    )
    rows = list(BENCHMARK["rows"](setting, [tmp_path, tmp_path], predictor))
    assert [(row["disturbance"], row["row"]) for row in rows] == [
        (kind, row) for kind in setting.kinds for row in ("none", "unguarded", "guarded")
    ]
    for row in rows:
        compared = [value is not None for value in row["episodes"]["prediction_error"]]
        assert not any(compared) if row["row"] == "none" else any(compared)
        assert (row["disturbed"] > 0) == (row["disturbance"] != "none")
        assert len(row["seed"]) == len(row["episodes"]["success"]) == 4
    assert BENCHMARK["table"](BENCHMARK["kept"](rows)).count("\n") == 1 + len(rows)
    path = tmp_path / "numbers.json"
    BENCHMARK["write"](BENCHMARK["content"](setting, [tmp_path], tmp_path / "predictor", rows), path)
    read = json.loads(path.read_text())
    assert [row["episodes"] for row in read["rows"]] == [row["episodes"] for row in rows]
    assert {each["kind"] for each in read["disturbances"]} == set(KINDS)
