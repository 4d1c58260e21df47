"""Windows over episodes, checked against slices of each episode."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.point_mass import demonstrations
from segue.data.windows import Windows
from segue.errors import DataError


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), horizon=st.integers(1, 9))
def test_a_window_is_a_slice_of_its_episode_with_the_last_action_held(lengths: list[int], horizon: int) -> None:
    episodes = demonstrations(tuple(lengths))
    if horizon > max(lengths):
        with pytest.raises(DataError, match="horizon"):
            Windows(episodes, horizon)
        return
    windows = Windows(episodes, horizon)
    assert len(windows) == sum(lengths)
    frame = 0
    for actions in np.split(episodes.action, episodes.ends[:-1]):
        for age in range(len(actions)):
            inside = actions[age : age + horizon]
            assert windows.age[frame] == age
            assert windows.valid[frame].tolist() == [j < len(inside) for j in range(horizon)]
            assert np.array_equal(windows.actions[frame, : len(inside)], inside)
            assert (windows.actions[frame, len(inside) :] == actions[-1]).all()
            frame += 1


def test_frames_index_the_actions() -> None:
    windows = Windows(demonstrations((3, 2)), 3)
    assert windows.frames.tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 4, 4], [4, 4, 4]]
