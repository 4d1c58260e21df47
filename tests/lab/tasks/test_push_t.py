import numpy as np
import pytest

from segue.core.robot import Outcome
from segue.data import bundled
from segue.lab.tasks.push_t import PushT


@pytest.fixture(scope="module")
def board() -> PushT:
    return PushT()


def test_board_observation_equals_the_demonstrations(board: PushT):
    states, episodes = bundled.push_t_states(), bundled.push_t()
    for frame in range(0, episodes.frames, 2500):
        board.restore(states[frame])
        np.testing.assert_allclose(board.observe(), episodes.observation[frame], atol=1e-3)


def test_corners_are_the_vertices_of_the_simulated_block(board: PushT):
    board.reset(5)
    shapes = [np.array([tuple(v) for v in shape.get_vertices()]) for shape in board._env._block_shapes]
    body = board._env.block
    simulated = {tuple(np.round(body.local_to_world(tuple(v)), 2)) for shape in shapes for v in shape}
    assert simulated == {tuple(corner) for corner in np.round(board.observe()[2:].reshape(8, 2).astype(float), 2)}


def test_a_demonstration_covers_the_mark(board: PushT):
    episodes = bundled.push_t()
    scores = []
    for index in range(5):
        board.restore(bundled.push_t_states()[episodes.starts[index]])
        start = board.outcome().score
        for action in episodes.episode(index).action:
            board.send(action)
        scores.append(board.outcome().score)
        assert start < 0.6
    assert np.mean(scores) > 0.8


def test_the_disc_stays_where_it_is_before_the_first_action(board: PushT):
    board.reset(2)
    before = board.pose()
    board.hold()
    np.testing.assert_allclose(board.pose(), before, atol=1e-2)


def test_a_covered_mark_is_success(board: PushT):
    goal_x, goal_y, angle = board._env.goal_pose
    board.restore(np.array([50, 50, goal_x, goal_y, angle]))
    assert board.outcome() == Outcome(True, 1.0, True)
