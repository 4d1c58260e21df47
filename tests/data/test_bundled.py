from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.data import bundled


def test_adroit_door_is_the_published_set():
    episodes = bundled.adroit_door()
    assert (len(episodes), episodes.frames) == (25, 6729)
    assert episodes.dt == pytest.approx(1 / 100)
    assert np.abs(episodes.action).max() == 1  # recorded beyond the limits, clipped on reading


def test_the_door_observation_is_consistent_with_its_names():
    episodes = bundled.adroit_door()
    column = {name: episodes.observation[:, i] for i, name in enumerate(episodes.observation_names)}
    for axis in "xyz":
        difference = column[f"palm {axis}"] - column[f"handle {axis}"]
        np.testing.assert_allclose(column[f"handle to palm {axis}"], difference, atol=1e-6)
    np.testing.assert_array_equal(column["door open"] > 0, column["door hinge"] > 1)


def test_push_t_is_the_published_set():
    episodes = bundled.push_t()
    assert (len(episodes), episodes.frames) == (206, 25650)
    assert episodes.dt == pytest.approx(1 / 10)
    assert episodes.action.min() >= 0
    assert episodes.action.max() <= 512


def test_push_t_actions_are_relative_to_where_the_agent_is():
    episodes = bundled.push_t()
    names = [episodes.observation_names[i] for i in episodes.state_of_action if i is not None]
    assert names == ["agent x", "agent y"]
    # The target lies near the agent, not anywhere on the board: otherwise the columns would be wrong
    distance = np.linalg.norm(episodes.action - episodes.observation[:, :2], axis=1)
    assert np.median(distance) < 50


@given(
    x=st.floats(0, 512),
    y=st.floats(0, 512),
    angle=st.floats(-7, 7),
)
def test_corners_are_those_of_a_t(x: float, y: float, angle: float):
    observation = bundled.push_t_observation(np.array([1.0, 2.0, x, y, angle]))
    np.testing.assert_array_equal(observation[:2], [1, 2])
    corners = observation[2:].reshape(8, 2).astype(np.float64)
    # Bar 120 x 30, stem 30 x 90, whatever the position and angle
    for one, other, length in [(0, 1, 120), (1, 2, 30), (3, 0, 30), (4, 5, 30), (5, 6, 90), (6, 7, 30)]:
        assert np.linalg.norm(corners[one] - corners[other]) == pytest.approx(length, abs=1e-3)
    np.testing.assert_allclose((corners[0] + corners[1]) / 2, [x, y], atol=1e-3)
    down = (corners[6] + corners[7]) / 2 - np.array([x, y])
    np.testing.assert_allclose(down / 120, [-np.sin(angle), np.cos(angle)], atol=1e-4)


def test_the_observation_is_computed_frame_by_frame():
    states = bundled.push_t_states()[:7]
    together = bundled.push_t_observation(states)
    np.testing.assert_array_equal(together, np.stack([bundled.push_t_observation(state) for state in states]))
    np.testing.assert_array_equal(together, bundled.push_t().observation[:7])


@pytest.mark.parametrize("name", ["adroit_door", "push_t"])
def test_every_recording_brings_its_licence_and_origin(name: str):
    folder: Path = bundled.FILES / name
    assert "icense" in (folder / "LICENSE").read_text()
    assert "Licence" in (folder / "SOURCE.md").read_text()
    assert (folder / "demonstrations.npz").stat().st_size < 2e6
