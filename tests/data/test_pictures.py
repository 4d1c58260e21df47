"""Pictures in demonstrations: on the disk, in selections, resampled and recorded."""

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import point_mass_with_pictures as sighted
from fakes.point_mass import SPEC
from segue.core.observation import Observation
from segue.data.episodes import Episodes, load, save
from segue.data.pictures import Pictures, together
from segue.data.resample import every_phase, subsample
from segue.errors import DataError
from segue.lab.tasks.recorder import recorded


def numbered(frames: int = 94) -> Episodes:
    """Frame n of the camera is full of the number n."""
    store = np.broadcast_to(np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 4, 5, 3)).copy()
    return replace(sighted.demonstrations(), pictures={"observation.images.top": Pictures.of(store)})


def numbers(episodes: Episodes) -> list[int]:
    return episodes.pictures["observation.images.top"][:][:, 0, 0, 0].tolist()


def test_a_file_keeps_pictures_where_they_are(tmp_path: Path) -> None:
    episodes = numbered()
    save(episodes.select([2, 0]), tmp_path / "a.npz")
    back = load(tmp_path / "a.npz")
    assert numbers(back) == [*range(54, 94), *range(30)]
    assert isinstance(back.pictures["observation.images.top"].store, np.memmap)
    assert back.cameras == {"observation.images.top": (4, 5)}
    np.testing.assert_array_equal(back.observation, episodes.select([2, 0]).observation)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:  # and NumPy reads it
        assert archive["pictures/observation.images.top"].shape == (70, 4, 5, 3)
    save(back, tmp_path / "a.npz")  # over itself, which is still mapped
    assert numbers(load(tmp_path / "a.npz")) == numbers(back)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_files_of_numpy_are_read_either_way(tmp_path: Path, write: Any) -> None:
    episodes = numbered()
    arrays: dict[str, Any] = {"observation": episodes.observation, "action": episodes.action}
    arrays |= {"episode_ends": episodes.ends, "dt": 0.1}
    arrays["pictures/observation.images.top"] = episodes.pictures["observation.images.top"][:]
    write(tmp_path / "a.npz", **arrays)
    back = load(tmp_path / "a.npz")
    assert numbers(back) == list(range(94))
    assert isinstance(back.pictures["observation.images.top"].store, np.memmap) == (write is np.savez)


def test_selections_read_nothing_and_keep_frames_with_their_pictures() -> None:
    episodes = numbered()
    one = episodes.episode(1)
    assert one.pictures["observation.images.top"].store is episodes.pictures["observation.images.top"].store
    assert numbers(one) == list(range(30, 54))
    _, rest = episodes.split(1, seed=0)
    assert numbers(rest) in (list(range(30)), list(range(30, 54)), list(range(54, 94)))
    seen = episodes.observed(7)
    assert isinstance(seen, Observation)
    assert seen.pictures["observation.images.top"].max() == 7
    np.testing.assert_array_equal(seen.state, episodes.observation[7])


@pytest.mark.parametrize("phase", [0, 2])
def test_resampled_frames_keep_their_pictures(phase: int) -> None:
    low = subsample(numbered(), 3, phase=phase)
    np.testing.assert_array_equal(numbered().observation[numbers(low)], low.observation)
    every = every_phase(numbered(), 3)
    np.testing.assert_array_equal(numbered().observation[numbers(every)], every.observation)
    parts = [numbered().pictures["observation.images.top"] for _ in range(2)]
    assert together(parts)[:][:, 0, 0, 0].tolist() == [*range(94)] * 2


def test_what_a_robot_saw_is_recorded() -> None:
    spec = replace(SPEC, cameras={"top": (2, 2)})
    frames: list[Any] = [
        (Observation(np.full(4, n, np.float32), {"top": np.full((2, 2, 3), n, np.uint8)}), np.zeros(2, np.float32))
        for n in range(5)
    ]
    found = recorded(spec, [frames[:2], [], frames[2:]], "a test")
    assert found.ends.tolist() == [2, 5]
    assert found.pictures["top"][:][:, 0, 0, 0].tolist() == found.observation[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    episodes = numbered()
    with pytest.raises(DataError, match="93 pictures of 'top' for 94 frames"):
        replace(episodes, pictures={"top": episodes.pictures["observation.images.top"].select(np.arange(93))})
    shapes = [((94, 3, 4, 5), np.uint8), ((94, 4, 5, 3), np.float32), ((94, 4, 5), np.uint8)]
    for wrong in (np.zeros(shape, dtype) for shape, dtype in shapes):
        with pytest.raises(DataError, match="uint8, red green blue"):
            Pictures.of(wrong)  # type: ignore[arg-type]
    save(episodes, tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DataError, match=r"\.npz archive"):
        load(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("pictures/top.npy", b"\x93NUMPY")
    with pytest.raises(DataError):
        load(tmp_path / "b.npz")
