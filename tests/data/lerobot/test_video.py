"""Videos of LeRobot's data sets: every frame is found by its time, and what does not fit is refused with its place."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from fakes.lerobot_sets import EPISODES, as_version_2
from fakes.point_mass import demonstrations
from segue.data import files
from segue.data.lerobot import reader, video, writer
from segue.errors import DataError, MissingExtraError

CAMERA = "observation.images.top"
HEIGHT, WIDTH = 32, 48
TOGETHER = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
APART = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
LENGTHS = np.diff(demonstrations().ends, prepend=0).tolist()
CODECS = ["mpeg4", "libx264", "libsvtav1"]


@pytest.fixture(autouse=True)
def ordinary() -> Iterator[None]:
    """SVT-AV1 makes the thread that encodes a real-time one where it may, and leaves it so: tests after it would starve
    the processes that they start."""
    yield
    if hasattr(os, "SCHED_OTHER") and os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def picture(number: int) -> NDArray[np.uint8]:
    """A number of 7 binary digits as blocks, black or white; the red block beneath tells red from blue."""
    shown = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for digit in range(7):
        shown[:16, 6 * digit : 6 * digit + 6] = 255 * (number >> digit & 1)
    shown[16:] = 200, 30, 30
    return shown


def number(shown: NDArray[np.uint8]) -> int:
    red, _, blue = shown[20:28, 8:40].mean((0, 1))
    assert red > blue + 80, "red and blue are exchanged"
    return sum(int(shown[4:12, 6 * digit + 1 : 6 * digit + 5].mean() > 128) << digit for digit in range(7))


def film(
    file: Path, numbers: Sequence[int], codec: str = "mpeg4", fps: int = 10, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> None:
    """A video of one picture per number, its index first, so that a part of it can be opened."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format="mp4", options={"movflags": "faststart"}) as container:
        quality = {"libx264": {"crf": "10"}, "libsvtav1": {"crf": "20", "preset": "10"}, "mpeg4": {"qmax": "4"}}[codec]
        stream: Any = container.add_stream(codec, rate=Fraction(fps), options=quality)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for each in numbers:
            shown = np.ascontiguousarray(np.resize(picture(each), (*size, 3)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())


def declare(root: Path, template: str) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["video_path"] = template
    info["features"][CAMERA] = {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    (root / "meta/info.json").write_text(json.dumps(info))


def change_places(root: Path, **columns: Sequence[Any]) -> None:
    """Where the video of each episode is, as meta/episodes says."""
    table = pyarrow.parquet.read_table(root / EPISODES)
    for name, values in columns.items():
        key = f"videos/{CAMERA}/{name}"
        table = table.drop_columns([key]) if key in table.column_names else table
        table = table.append_column(key, pyarrow.array(values))
    pyarrow.parquet.write_table(table, root / EPISODES)


def filmed(root: Path, codec: str = "mpeg4", fps: int = 10) -> Path:
    """Version 3.0: two episodes in the first file, one in the second; the frames are numbered through."""
    writer.save(demonstrations(), root, task="move the mass")
    declare(root, TOGETHER)
    first, second, third = LENGTHS
    change_places(
        root,
        chunk_index=[0, 0, 0],
        file_index=[0, 0, 1],
        from_timestamp=[0.0, first / 10, 0.0],
        to_timestamp=[first / 10, (first + second) / 10, third / 10],
    )
    film(place(root, 0), range(first + second), codec, fps)
    film(place(root, 1), range(first + second, sum(LENGTHS)), codec, fps)
    return root


def place(root: Path, file: int) -> Path:
    return root / TOGETHER.format(video_key=CAMERA, chunk_index=0, file_index=file)


def seen(root: Path) -> list[int]:
    found = reader.load(root, cameras=[CAMERA])
    assert found.cameras == {CAMERA: (HEIGHT, WIDTH)}
    return [number(each) for each in found.pictures[CAMERA][:]]


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_of_many_episodes_in_a_file_is_found(tmp_path: Path, codec: str) -> None:
    assert seen(filmed(tmp_path / "set", codec)) == list(range(sum(LENGTHS)))


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_of_a_file_per_episode_is_found(tmp_path: Path, codec: str) -> None:
    root = as_version_2(writer.save(demonstrations(), tmp_path / "new", task="t"), tmp_path / "old")
    declare(root, APART)
    ends = demonstrations().ends.tolist()
    for episode, (length, end) in enumerate(zip(LENGTHS, ends, strict=True)):
        file = root / APART.format(video_key=CAMERA, episode_chunk=0, episode_index=episode)
        film(file, range(end - length, end), codec)
    assert seen(root) == list(range(sum(LENGTHS)))


def test_the_nearest_frame_counts_and_other_rates_are_no_matter(tmp_path: Path) -> None:
    root = filmed(tmp_path / "set")
    first, second, _ = LENGTHS
    film(place(root, 0), [frame // 3 for frame in range(3 * (first + second))], fps=30)  # each shown thrice
    late = [0.03, first / 10 + 0.03, -0.04]
    change_places(
        root,
        from_timestamp=late,
        to_timestamp=[start + length / 10 for start, length in zip(late, LENGTHS, strict=True)],
    )
    assert seen(root) == list(range(sum(LENGTHS)))


def test_each_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, frames = [], video._frames
    monkeypatch.setattr(video, "_frames", lambda key, file: decoded.append(file) or frames(key, file))
    root = filmed(tmp_path / "set")
    assert seen(root) == list(range(sum(LENGTHS)))
    assert decoded == [place(root, 0), place(root, 1)]


def test_state_and_action_are_read_without_av(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = filmed(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "av", None)
    np.testing.assert_array_equal(files.load(root).action, demonstrations().action)
    with pytest.raises(MissingExtraError, match=r"'\.\[video\]'"):
        reader.load(root, cameras=[CAMERA])


def cut(share: float) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        data = place(root, 0).read_bytes()
        place(root, 0).write_bytes(data[: int(share * len(data))])

    return damage


def early(root: Path) -> None:
    change_places(root, from_timestamp=[0.0, LENGTHS[0] / 10, 0.06], to_timestamp=[3.0, 5.4, 9.0])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda root: place(root, 1).unlink(), "file-001.mp4 cannot be read"),
        (lambda root: place(root, 1).write_text("#EXTM3U\n/etc/passwd\n"), "file-001.mp4 cannot be read"),
        (cut(0.01), "no video of .*file-000.mp4"),
        (cut(0.7), "no frame of .* at .* s in .*file-000.mp4"),
        (cut(0.995), "no frame of .* at 5.3000 s in .*file-000.mp4"),
        (lambda root: film(place(root, 0), range(LENGTHS[0])), r"no frame of .* at 3.0000 s .* nearest is at 2.9000 s"),
        (early, r"no frame of .* at 3.9600 s .*file-001.mp4; the nearest is at 3.9"),
        (lambda root: film(place(root, 0), range(60), size=(48, 32)), "of 48 x 32 pixels in .*file-000"),
        (lambda root: change_places(root, to_timestamp=[3.0, 5.0, 9.0]), "0.0, 0.0, 3.0, 5.0 for episode 1"),
        (lambda root: change_places(root, file_index=[0, None, 1]), "nan, 3.0, 5.4 for episode 1 in"),
        (lambda root: change_places(root, file_index=["a", "b", "c"]), "0, a, 0.0, 3.0 for episode 0 in"),
        (lambda root: declare(root, "../{video_key}{chunk_index}{file_index}"), "inside of the data set"),
        (lambda root: declare(root, "{episode}"), "a template over"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(tmp_path: Path, damage: Callable[[Path], None], says: str) -> None:
    root = filmed(tmp_path / "set")
    damage(root)
    with pytest.raises(DataError, match=says):
        reader.load(root, cameras=[CAMERA])


def test_places_that_are_not_told_are_missed(tmp_path: Path) -> None:
    root = writer.save(demonstrations(), tmp_path / "set", task="t")
    declare(root, TOGETHER)
    with pytest.raises(DataError, match=f"without the column 'videos/{CAMERA}/chunk_index'"):
        reader.load(root, cameras=[CAMERA])
