import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.data.episodes import Episodes, load, save
from segue.errors import DataError

LENGTHS = (3, 1, 4, 2)


def make(lengths: tuple[int, ...] = LENGTHS, observations: int = 3, actions: int = 2) -> Episodes:
    frames = sum(lengths)
    return Episodes(
        observation=np.arange(frames * observations, dtype=np.float32).reshape(frames, observations),
        action=-np.arange(frames * actions, dtype=np.float32).reshape(frames, actions),
        ends=np.cumsum(lengths, dtype=np.int64),
        dt=0.02,
        observation_names=tuple(f"o{i}" for i in range(observations)),
        action_names=tuple(f"a{i}" for i in range(actions)),
        state_of_action=(1, None)[:actions],
        source="made up",
    )


def arrays(**changes: object) -> dict[str, np.ndarray]:
    """A valid file's arrays, some of them changed; None leaves one out."""
    episodes = make()
    contents: dict[str, object] = {
        "observation": episodes.observation,
        "action": episodes.action,
        "episode_ends": episodes.ends,
        "dt": 0.02,
    }
    contents.update(changes)
    return {key: np.asarray(value) for key, value in contents.items() if value is not None}


def written(path: Path, **changes: object) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays(**changes))  # pyright: ignore[reportArgumentType]
    return path


def assert_equal(one: Episodes, other: Episodes) -> None:
    np.testing.assert_array_equal(one.observation, other.observation)
    np.testing.assert_array_equal(one.action, other.action)
    np.testing.assert_array_equal(one.ends, other.ends)
    assert (one.dt, one.observation_names, one.action_names) == (other.dt, other.observation_names, other.action_names)
    assert (one.state_of_action, one.source) == (other.state_of_action, other.source)


def test_saved_and_loaded_episodes_are_the_same(tmp_path: Path):
    episodes = make()
    save(episodes, tmp_path / "new folder" / "file.npz")
    assert_equal(load(tmp_path / "new folder" / "file.npz"), episodes)


def test_save_leaves_only_the_file_and_overwrites(tmp_path: Path):
    save(make((2, 2)), tmp_path / "file.npz")
    save(make(), tmp_path / "file.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]
    assert len(load(tmp_path / "file.npz")) == len(LENGTHS)


def test_names_source_and_state_of_action_are_optional(tmp_path: Path):
    episodes = load(written(tmp_path / "file.npz"))
    assert len(set(episodes.observation_names)) == 3
    assert len(set(episodes.action_names)) == 2
    assert episodes.state_of_action == (None, None)
    assert episodes.source == ""


def test_double_precision_and_small_integers_are_converted(tmp_path: Path):
    contents = arrays()
    path = written(
        tmp_path / "file.npz",
        observation=contents["observation"].astype(np.float64),
        episode_ends=contents["episode_ends"].astype(np.int32),
    )
    episodes = load(path)
    assert episodes.observation.dtype == np.float32
    assert episodes.ends.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": None}, "without 'action'"),
        ({"dt": None, "episode_ends": None}, "without 'episode_ends', 'dt'"),
        ({"observation": np.zeros(10)}, r"observation of shape \(10,\)"),
        ({"action": np.zeros((10, 2, 1))}, r"action of shape \(10, 2, 1\)"),
        ({"observation": np.zeros((0, 3)), "action": np.zeros((0, 2))}, r"observation of shape \(0, 3\)"),
        ({"action": np.zeros((9, 2))}, "10 observations and 9 actions"),
        ({"episode_ends": [3, 4, 4, 10]}, "episode 2 ends at frame 4 and starts at 4"),
        ({"episode_ends": [0, 10]}, "episode 0 ends at frame 0"),
        ({"episode_ends": [3, 9]}, "ends at frame 9 of 10"),
        ({"episode_ends": [[10]]}, r"episode ends of shape \(1, 1\)"),
        ({"episode_ends": [2.5, 10]}, "fractional episode_ends"),
        ({"dt": 0.0}, "dt = 0.0"),
        ({"dt": np.nan}, "dt = nan"),
        ({"dt": [0.1, 0.1]}, r"dt of shape \(2,\)"),
        ({"dt": "fast"}, "'dt' of type"),
        ({"observation_names": ["x", "y"]}, "2 observation names for 3 dimensions"),
        ({"action_names": ["x", "x"]}, "action names used twice: x"),
        ({"state_of_action": [0]}, "state_of_action for 1 dimensions"),
        ({"state_of_action": [0, 3]}, "points at observation 3"),
        ({"state_of_action": ["o0", "o1"]}, "'state_of_action' of type <U2"),
        ({"state_of_action": [0.7, 1]}, "fractional state_of_action"),
        ({"state_of_action": [np.nan, 1]}, "fractional state_of_action"),
        ({"state_of_action": [np.inf, 1]}, "fractional state_of_action"),
        ({"state_of_action": [[0, 1], [1, 0]]}, r"state_of_action of shape \(2, 2\)"),
        ({"observation_names": [1, 2, 3]}, "'observation_names' of type int64"),
        ({"action_names": [["x", "y"]]}, r"action_names of shape \(1, 2\)"),
        ({"source": 3}, "'source' of type int64"),
        ({"source": ["a", "b"]}, r"source of shape \(2,\)"),
        ({"pictures/top": 3}, r"pictures of shape \(\)"),
        ({"pictures/top": "none"}, r"pictures of shape \(\)"),
    ],
)
def test_load_says_what_is_wrong(tmp_path: Path, changes: dict[str, object], message: str):
    with pytest.raises(DataError, match=message):
        load(written(tmp_path / "file.npz", **changes))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(value: float):
    episodes = make()
    action = episodes.action.copy()
    action[5, 1] = value
    # Frame 5 lies in the third episode, which starts after 3 + 1 frames
    with pytest.raises(DataError, match=r"frame 5 \(episode 2, step 1\), dimension 1 \('a1'\)"):
        replace(episodes, action=action)


def test_double_precision_arrays_are_refused_in_memory():
    with pytest.raises(DataError, match="float64"):
        replace(make(), observation=make().observation.astype(np.float64))


def test_a_file_of_another_kind_is_not_taken_for_pickled_objects(tmp_path: Path):
    (tmp_path / "notes.npz").write_text("not an archive")
    with pytest.raises(DataError, match=r"notes.npz is no .npz archive"):
        load(tmp_path / "notes.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path):
    names = np.array([{"a": 1}, "b", "c"], dtype=object)
    with pytest.raises(DataError, match="pickled objects"):
        load(written(tmp_path / "file.npz", observation_names=names))


def test_other_keys_are_not_read(tmp_path: Path):
    anything = np.array([{"a": 1}], dtype=object)
    assert_equal(load(written(tmp_path / "file.npz", notes=anything)), load(written(tmp_path / "plain.npz")))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path):
    whole = tmp_path / "file.npz"
    save(make(), whole)
    content = whole.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        whole.write_bytes(content[:length])
        with pytest.raises(DataError):
            load(whole)


def test_a_damaged_file_is_refused(tmp_path: Path):
    path = written(tmp_path / "file.npz")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("observation.npy").header_offset
    content[start + 200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError):
        load(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no file"):
        load(tmp_path / "nothing.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        load(tmp_path / "array.npy")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(DataError):
        load(tmp_path / "text.npz")


def test_episode_has_the_frames_between_start_and_end():
    episodes = make()
    for index, (length, start) in enumerate(zip(LENGTHS, (0, 3, 4, 8), strict=True)):
        one = episodes.episode(index)
        assert (len(one), one.frames) == (1, length)
        np.testing.assert_array_equal(one.observation, episodes.observation[start : start + length])
        np.testing.assert_array_equal(one.action, episodes.action[start : start + length])
    assert_equal(episodes.episode(-1), episodes.episode(3))
    assert [one.frames for one in episodes] == list(LENGTHS)


@pytest.mark.parametrize("index", [4, -5])
def test_an_episode_that_does_not_exist(index: int):
    with pytest.raises(DataError, match="of 4"):
        make().episode(index)


@given(
    lengths=st.lists(st.integers(1, 5), min_size=2, max_size=12).map(tuple),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_split_parts_the_episodes(lengths: tuple[int, ...], seed: int, data: st.DataObject):
    episodes = make(lengths)
    held_out = data.draw(st.integers(1, len(lengths) - 1))
    train, rest = episodes.split(held_out, seed)
    assert len(rest) == held_out
    # The first observation value numbers the frames: together they are all frames, each once, episodes kept whole
    first = [frozenset(one.observation[:, 0].tolist()) for part in (train, rest) for one in part]
    assert set(first) == {frozenset(one.observation[:, 0].tolist()) for one in episodes}
    assert len(first) == len(lengths)
    again, _ = episodes.split(held_out, seed)
    assert_equal(again, train)


def test_split_depends_on_the_seed():
    episodes = make((1,) * 20)
    chosen = {tuple(episodes.split(5, seed)[1].observation[:, 0].tolist()) for seed in range(10)}
    assert len(chosen) > 1


@pytest.mark.parametrize(("fraction", "count"), [(0.25, 5), (0.5, 10), (0.01, 1)])
def test_split_by_fraction(fraction: float, count: int):
    assert len(make((1,) * 20).split(fraction, 0)[1]) == count


@pytest.mark.parametrize("held_out", [0, 4, 1.0])
def test_split_leaves_no_side_empty(held_out: int | float):
    with pytest.raises(DataError, match="of 4 episodes held out"):
        make().split(held_out, 0)
