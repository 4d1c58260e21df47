"""What holds for the contact tasks: wiping, writing, peeling."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segue.core.smoothness import jerk
from segue.errors import DataError
from segue.lab.tasks import demonstrator
from segue.lab.tasks.contact import board_writing, demonstrations, peeling, wipe
from segue.lab.tasks.contact.contact import PIECES, ContactTask, Touch, smoothed
from segue.lab.tasks.contact.demonstrations import Style
from segue.lab.tasks.contact.panda import FLAT, SOFT, STIFF

MODULES = {module.NAME: module for module in (wipe, board_writing, peeling)}
CALM = {"shift": (0.0, 0.0), "backwards": False, "noise": 0.0}


@pytest.fixture(scope="module", params=MODULES)
def task(request: pytest.FixtureRequest) -> ContactTask:
    return MODULES[request.param].simulator()


@pytest.fixture(scope="module")
def table() -> ContactTask:
    return wipe.simulator()


def play(task: ContactTask, actions: NDArray) -> NDArray[np.float64]:
    """Measured positions, one per action."""
    poses = []
    for action in actions:
        task.send(action)
        poses.append(task.pose()[:3])
    return np.stack(poses)


@pytest.mark.faults
def test_the_expert_succeeds_and_shows_it(task: ContactTask):
    task.start(np.random.default_rng(5))
    surface = task.surface
    style = demonstrations.draw_style(task, np.random.default_rng(1))
    observation, action = demonstrations.play(task, style, np.random.default_rng(0))
    assert task.outcome().success
    assert task.outcome().score >= surface.needed
    assert np.all((action >= task.spec.action_low) & (action <= task.spec.action_high))
    names = task.spec.observation_names
    done = observation[:, names.index("done")]
    assert done[0] == 0
    assert np.all(np.diff(done) >= 0)
    left = observation[:, [names.index(f"piece {k} left") for k in range(PIECES)]]
    np.testing.assert_allclose(left.mean(axis=1), 1 - done, atol=1e-6)
    # Success is seen once, then a few frames are kept
    assert (done >= np.float32(surface.needed)).sum() == demonstrations.KEPT_AFTER_SUCCESS
    # What the policy is to command is what it measures, in the same order and unit
    assert np.abs(action - observation[:, : action.shape[1]]).max() < 0.1
    working = observation[:, names.index("force z")] > 1
    assert working.any()
    assert np.abs(action - observation[:, : action.shape[1]])[working].max() < 0.03


def test_pieces_are_seen_from_the_tool(task: ContactTask):
    task.reset(4)
    names = task.spec.observation_names
    observation = task.observe()
    columns = [[names.index(f"piece {k} {axis}") for axis in "xy"] for k in range(PIECES)]
    tool = observation[[names.index("tool x"), names.index("tool y")]]
    expected = task.surface.points.reshape(PIECES, -1, 3).mean(axis=1)[:, :2]
    np.testing.assert_allclose(observation[np.array(columns)] + tool, expected, atol=1e-6)


def test_nothing_is_done_without_contact(task: ContactTask):
    task.reset(2)
    style = Style(speed=task.surface.speed[1], depth=-0.01, **CALM)  # a centimetre above the surface
    poses = play(task, demonstrations.plan(task, style)[:200])
    assert np.ptp(poses, axis=0).max() > 0.05
    assert task.outcome().score == 0


def test_before_the_first_action_the_arm_holds_still(task: ContactTask):
    task.reset(1)
    start = task.pose()
    for _ in range(30):
        task.hold()
    np.testing.assert_allclose(task.pose()[:3], start[:3], atol=1e-3)


def test_another_stiffness_is_another_robot():
    assert wipe.simulator().spec.name == "wipe"
    assert wipe.simulator(SOFT).spec.name == "wipe, kp 300"


def robosuites_wiped(points: NDArray, touch: Touch) -> NDArray[np.bool_]:
    """The rule of robosuite's Wipe, asked for the same tool and markers."""
    from robosuite.environments.manipulation.wipe import Wipe

    along, across = touch.rotation[:, 0] * 0.06, touch.rotation[:, 1] * 0.025
    signs = ((1, 1), (-1, 1), (1, -1), (-1, -1))  # as its corners are numbered
    corners = [touch.position + one * along + other * across for one, other in signs]
    markers = [SimpleNamespace(root_body=k) for k in range(len(points))]
    stub: Any = SimpleNamespace(
        sim=SimpleNamespace(
            model=SimpleNamespace(geom_name2id=int, body_name2id=int),
            data=SimpleNamespace(geom_xpos=corners, body_xpos=points, ncon=1),
        ),
        model=SimpleNamespace(mujoco_arena=SimpleNamespace(markers=markers)),
    )
    active: list[Any] = Wipe._get_active_markers(stub, [0, 1, 2, 3])
    wiped = np.zeros(len(points), bool)
    wiped[[marker.root_body for marker in active]] = True
    return wiped


def test_what_is_wiped_is_what_robosuite_says():
    generator = np.random.default_rng(0)
    points = generator.uniform([-0.1, -0.1, -0.03], [0.1, 0.1, 0.03], (400, 3))
    for tilt in (0.0, 0.05, -0.3):
        rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]) @ FLAT
        touch = Touch(generator.normal(0, 0.005, 3), rotation, force=10.0)
        expected = robosuites_wiped(points, touch)
        assert 5 < expected.sum() < 200
        np.testing.assert_array_equal(touch.covers(points), expected)


def test_a_trace_winds_within_the_region():
    limit = wipe.COVERAGE * wipe.TABLE[:2] / 2 - wipe.TRACE / 2
    for seed in range(20):
        trace = wipe.draw_trace(np.random.default_rng(seed))
        assert trace.shape == (wipe.MARKERS, 2)
        assert (np.abs(trace) <= limit).all()
        np.testing.assert_allclose(np.linalg.norm(np.diff(trace, axis=0), axis=1), wipe.SPACING, rtol=1e-9)


def test_the_pen_writes_only_near_by_and_with_even_pressure():
    board = board_writing.Board()
    board.points = np.array([[0.0, 0, 0], [0.003, 0, 0], [0.01, 0, 0]])
    position = np.zeros(3)
    low, high = board_writing.FORCE
    assert board.works(Touch(position, FLAT, (low + high) / 2)).tolist() == [True, True, False]
    for force in (low / 2, high * 2):
        assert not board.works(Touch(position, FLAT, force)).any()


def test_characters_fit_on_the_board():
    for seed in range(60):
        points = board_writing.draw_character(np.random.default_rng(seed))
        assert points.shape == (board_writing.POINTS, 2)
        assert (np.abs(points) < board_writing.Board.high[:2] - 0.01).all()


def test_a_tilted_tool_is_tangential_to_the_cylinder():
    cylinder = peeling.Cylinder()
    skin = peeling.skin()
    for action in ([0, 0, 0, angle] for angle in (-0.1, 0.0, 0.4)):
        angle = action[3]
        rotation = cylinder.rotation(np.array(action, np.float32))
        normal = np.array([np.sin(angle), 0, np.cos(angle)])
        np.testing.assert_allclose(-rotation[:, 2], normal, atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(rotation), 1)
        assert cylinder.tilt(rotation) == pytest.approx((angle,))
        # Deeper pressing peels more: the sole's plane cuts the cylinder where its sagitta is the depth
        peeled = []
        for depth in (-0.001, 0.0005, 0.002):
            touch = Touch((peeling.RADIUS - depth) * normal + [0, 0.055, 0], rotation, force=20.0)
            cylinder.points = skin
            peeled.append(cylinder.works(touch).sum())
        assert peeled[0] == 0 < peeled[1] < peeled[2]


def test_smoothing_keeps_lines_and_ends():
    line = np.linspace([0.0, 1.0], [3.0, 5.0], 40)
    smooth = smoothed(line, np.hanning(9))
    assert smooth.shape == line.shape
    np.testing.assert_allclose(smooth[4:-4], line[4:-4])
    np.testing.assert_allclose(smoothed(np.ones((20, 2)), np.hanning(9)), 1)


def test_a_timed_way_keeps_its_speeds():
    way = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.1, 0.2, 0]])
    targets = demonstrations.timed(way, np.array([0.1, 0.2]), dt=0.01)
    speed = np.linalg.norm(np.diff(targets, axis=0), axis=1) / 0.01
    np.testing.assert_allclose(speed[25:90], 0.1, rtol=1e-6)
    np.testing.assert_allclose(speed[130:190], 0.2, rtol=1e-6)
    np.testing.assert_allclose(targets[0], way[0])
    np.testing.assert_allclose(targets[-1], way[-1], atol=2e-3)
    assert speed[[0, -1]].max() < 0.02


def test_recorded_actions_are_free_of_the_noise_that_moved_the_arm(table: ContactTask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demonstrations, "MAX_STEPS", 100)
    noisy = Style(speed=0.12, depth=0.001, shift=(0.0, 0.0), backwards=False, noise=0.004)
    table.start(np.random.default_rng(3))
    planned = table.spec.clip(demonstrations.plan(table, noisy)[0])
    expected = demonstrations.plan(table, noisy)
    observation, action = demonstrations.play(table, noisy, np.random.default_rng(0))
    np.testing.assert_array_equal(action[0], planned)
    steps = min(len(action), len(expected))
    np.testing.assert_allclose(action[:steps], expected[:steps], atol=1e-6)
    assert np.abs(observation[:steps, :2] - expected[:steps, :2]).max() > 0.004


def test_held_targets_make_a_stiff_arm_stop_and_go():
    """Every fourth target held for four steps, 15 instead of 60 Hz: the stiff arm shows it, the soft one hides it."""
    rougher = {}
    for kp in (STIFF, SOFT):
        task = wipe.simulator(kp)
        motion = []
        for every in (1, 4):
            task.start(np.random.default_rng(3))
            targets = demonstrations.plan(task, Style(speed=0.1, depth=-0.01, **CALM))[90:180]
            for _ in range(60):  # to where the excerpt begins
                task.send(targets[0])
            held = np.repeat(targets[::every], every, axis=0)[: len(targets)]
            motion.append(np.sqrt(np.mean(jerk(play(task, held), task.spec.dt) ** 2)))
        rougher[kp] = motion[1] / motion[0]
    assert rougher[STIFF] > 1.5
    assert rougher[SOFT] < rougher[STIFF]


def test_evaluation_never_meets_a_demonstrations_initial_state(table: ContactTask):
    states = []
    for seed in range(5):
        table.reset(seed)
        states.append(tuple(table.observe().tolist()))
        table.start(np.random.default_rng([demonstrator.DEMONSTRATION, 0, seed]))
        states.append(tuple(table.observe().tolist()))
    assert len(set(states)) == len(states)


def test_demonstrations_are_made_once(table: ContactTask, tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path))
    made = demonstrations.demonstrations(lambda: table, "wipe", episodes=1)
    (path,) = tmp_path.rglob("*.npz")
    monkeypatch.setattr(demonstrations, "record", lambda *_: pytest.fail("made again"))
    again = demonstrations.demonstrations(lambda: table, "wipe", episodes=1)
    np.testing.assert_array_equal(again.observation, made.observation)
    assert len(made) == 1
    assert made.state_of_action == (0, 1, 2)
    assert [made.observation_names[k] for k in (0, 1, 2)] == ["tool x", "tool y", "tool z"]
    assert path.parent.name == "contact"


def test_an_expert_that_fails_is_reported(table: ContactTask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demonstrations, "MAX_STEPS", 3)
    with pytest.raises(DataError, match="0 successes"):
        demonstrations.record(table, episodes=1, seed=0)
