"""Push-T from pixels: pictures are those of the recorded states, and of the board as it is."""

import numpy as np
import pytest

from segue.core.observation import Observation
from segue.core.robot import check_robot
from segue.data import bundled
from segue.lab.recipes import recipe_for
from segue.lab.tasks.push_t import PushT
from segue.lab.tasks.push_t_pixels import BOARD, SIZE, PushTPixels, drawn


@pytest.fixture(scope="module")
def board() -> PushTPixels:
    return PushTPixels()


def test_it_is_a_robot(board: PushTPixels) -> None:
    check_robot(board)


def test_what_is_recorded_is_what_is_seen(board: PushTPixels) -> None:
    """The first human episode, replayed: where disc and T are the same, the picture is, but for the dots of a touch."""
    seen: list[Observation] = []
    states, env = [], board._simulator._env
    board.reset(3)
    for action in bundled.push_t().episode(0).action[:40]:
        board.send(action)
        seen.append(board.observe())
        states.append([*env.agent.position, *env.block.position, env.block.angle])
    episode = bundled.push_t().select([0])
    few = drawn(episode.select([0]), np.array(states + [states[-1]] * (episode.frames - 40), np.float32))
    for one, shown in zip(seen, few.pictures[BOARD][:40], strict=True):
        difference = np.abs(one.pictures[BOARD].astype(int) - shown)
        assert difference.max() <= 24
        assert np.mean(difference > 0) < 0.01
    assert seen[0].pictures[BOARD].shape == (SIZE, SIZE, 3)
    assert few.cameras == board.spec.cameras
    assert few.observation_names == board.spec.observation_names
    assert few.state_of_action == (0, 1)


def test_the_agent_is_where_the_picture_shows_it(board: PushTPixels) -> None:
    picture = PushT()
    for x, y in [(100, 400), (400, 100), (256, 256)]:
        picture.place(np.array([x, y, 60, 60, 0.0]))
        shown = picture.picture(SIZE).astype(int)
        blue = shown[..., 2] - shown[..., 0] > 100
        rows, columns = np.nonzero(blue)
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], np.array([x, y]) * SIZE / 512, atol=0.75)


def test_its_recipe_is_that_of_the_state_with_fewer_pictures_that_count_more_often() -> None:
    state, pixels = recipe_for("push-t"), recipe_for("push-t-pixels")
    assert (pixels.network, pixels.network_settings, pixels.relative) == ("mlp", {"width": 512}, True)
    assert pixels.training.batch < state.training.batch
    assert pixels.training.draws > state.training.draws == 1
