"""Pictures in LeRobot's tables: written, decoded when they are asked for, refused with the row that is wrong."""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

from fakes import point_mass_with_pictures as sighted
from segue.cli.app import app, main
from segue.core.observation import Observation
from segue.data import episodes as archives
from segue.data import files
from segue.data.lerobot import images, reader, statistics, writer
from segue.data.pictures import Pictures
from segue.errors import DataError, MissingExtraError
from segue.lab.tasks.push_t_pixels import BOARD, PushTPixels
from segue.lab.tasks.recorder import Recorder, recorded

CAMERA = "observation.images.top"
SIZE = (24, 24)
DATA = Path("data/chunk-000/file-000.parquet")


def encoded(picture: Any, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, quality=95)
    return file.getvalue()


def with_pictures(root: Path, files: Sequence[bytes | None]) -> Path:
    """A data set of the point mass, written without pictures and given them as LeRobot stores them."""
    writer.save(replace(sighted.demonstrations(), pictures={}), root, task="move the mass")
    table = pyarrow.parquet.read_table(root / DATA)
    column = pyarrow.array([{"bytes": each, "path": f"{n}.png"} for n, each in enumerate(files)])
    pyarrow.parquet.write_table(table.append_column(CAMERA, column), root / DATA)
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][CAMERA] = {"dtype": "image", "shape": [*SIZE, 3], "names": ["height", "width", "channels"]}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


@pytest.fixture
def shown() -> Any:
    return sighted.demonstrations().pictures[sighted.CAMERA][:]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_pictures_are_read_with_their_frames(tmp_path: Path, shown: Any, form: str) -> None:
    root = with_pictures(tmp_path / "set", [encoded(each, form) for each in shown])
    found = reader.load(root, cameras=[CAMERA])
    assert found.cameras == {CAMERA: SIZE}
    wrong = np.abs(found.pictures[CAMERA][:].astype(int) - shown)
    assert wrong.max() == 0 if form == "PNG" else wrong.mean() < 4
    seen = found.observed(40)
    assert isinstance(seen, Observation)
    np.testing.assert_array_equal(seen.state, sighted.demonstrations().observation[40])


def test_what_is_written_is_read_back(tmp_path: Path, shown: Any) -> None:
    root = writer.save(sighted.demonstrations(), tmp_path / "set", task="move the mass")
    found = reader.load(root, cameras=[CAMERA])
    np.testing.assert_array_equal(found.pictures[CAMERA][:], shown)
    np.testing.assert_array_equal(found.action, sighted.demonstrations().action)
    described = json.loads((root / "meta/info.json").read_text())["features"][CAMERA]
    assert described == {"dtype": "image", "shape": [*SIZE, 3], "names": ["height", "width", "channels"]}
    again = writer.save(found, tmp_path / "again", task="move the mass")
    np.testing.assert_array_equal(reader.load(again, cameras=[CAMERA]).pictures[CAMERA][:], shown)


def test_statistics_of_pictures_are_those_of_all_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(3, 250, (94, 9, 7, 3), np.uint8) // np.array([1, 2, 3], np.uint8)
    root = tmp_path / "set"
    writer.save(replace(sighted.demonstrations(), pictures={"top": Pictures.of(noise)}), root, task="t")
    rows = pyarrow.parquet.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    first = {key.split("/")[2]: value for key, value in rows[0].items() if key.startswith(f"stats/{CAMERA}/")}
    for found, pictures in ((json.loads((root / "meta/stats.json").read_text())[CAMERA], noise), (first, noise[:30])):
        pixels = pictures.reshape(-1, 3) / 255
        wanted = {name: getattr(pixels, name)(0) for name in ("min", "max", "mean", "std")}
        for name, share in statistics.QUANTILES.items():
            wanted[name] = np.quantile(pixels, share, axis=0, method="inverted_cdf")
        assert found.keys() == {*wanted, "count"}
        assert found["count"] == [len(pictures)]
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values.reshape(3, 1, 1), err_msg=name)


def test_a_file_that_is_full_is_the_last_of_its_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (94, *SIZE, 3), np.uint8)  # 1.7 kB a picture
    monkeypatch.setattr(writer, "_MEGABYTES", 0.08)
    root = tmp_path / "set"
    writer.save(replace(sighted.demonstrations(), pictures={"top": Pictures.of(noise)}), root, task="t")
    assert [file.name for file in sorted((root / "data/chunk-000").iterdir())] == [
        "file-000.parquet",
        "file-001.parquet",
    ]
    np.testing.assert_array_equal(reader.load(root, cameras=[CAMERA]).pictures[CAMERA][:], noise)


def test_what_a_policy_saw_is_recorded(tmp_path: Path) -> None:
    robot = Recorder(PushTPixels())
    robot.reset(0)
    saw = []
    for step in range(4):
        saw.append(robot.observe().pictures[BOARD])  # type: ignore[union-attr]
        robot.send(np.array([100.0 + 80 * step, 250], np.float32))
    made = recorded(robot.spec, [robot.frames], "test")
    key = f"observation.images.{BOARD}"
    found = reader.load(writer.save(made, tmp_path / "set", task="t"), cameras=[key])
    np.testing.assert_array_equal(found.pictures[key][:], saw)
    assert (saw[0] != saw[3]).any()


def test_the_colours_may_come_first(tmp_path: Path, shown: Any) -> None:
    root = writer.save(sighted.demonstrations(), tmp_path / "set", task="t")
    described = json.loads((root / "meta/info.json").read_text())
    for shape, read in (([3, *SIZE], True), ([*SIZE, 1], False), ([*SIZE], False), ([0, 24, 3], False)):
        described["features"][CAMERA]["shape"] = shape
        (root / "meta/info.json").write_text(json.dumps(described))
        if read:
            np.testing.assert_array_equal(reader.load(root, cameras=[CAMERA]).pictures[CAMERA][:], shown)
        else:
            with pytest.raises(DataError, match="of shape"):
                reader.load(root, cameras=[CAMERA])


@pytest.mark.parametrize("cameras", [("top",), ("top", "wrist")])
def test_a_disc_that_is_too_small_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cameras: tuple[str, ...]
) -> None:
    made = sighted.demonstrations()
    root = writer.save(replace(made, pictures=dict.fromkeys(cameras, made.pictures["top"])), tmp_path / "set", task="t")
    keys = [f"observation.images.{name}" for name in cameras]
    needed = len(cameras) * 94 * 24 * 24 * 3
    for free, enough in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if enough:
            reader.load(root, cameras=keys)
        else:
            with pytest.raises(DataError, match=r"94 pictures each of .*top \(24 x 24\)") as caught:
                reader.load(root, cameras=keys)
            assert "TMPDIR" in caught.value.change


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = writer.save(sighted.demonstrations(), tmp_path / "set", task="t")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[lerobot\]'"):
        reader.load(root, cameras=[CAMERA])
    with pytest.raises(MissingExtraError, match=r"'\.\[lerobot\]'"):
        writer.save(sighted.demonstrations(), tmp_path / "new", task="t")
    assert reader.load(root).frames == 94


def test_state_and_action_are_read_without_decoding(tmp_path: Path, shown: Any) -> None:
    root = with_pictures(tmp_path / "set", [b"no picture"] * len(shown))
    assert not files.load(root).pictures
    with pytest.raises(DataError, match=r"of row 0 in .* cannot be decoded"):
        files.load(root, cameras=[CAMERA])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[: len(data) // 2], "row 7 in .*cannot be decoded"),
        (lambda _: None, "nothing as .*row 7"),
        (lambda _: encoded(np.zeros((8, 9, 3), np.uint8)), "row 7 in .* of 8 x 9 pixels"),
        (lambda _: encoded(np.zeros((24, 24, 3), np.uint8), "GIF"), "row 7 in .*cannot be decoded"),
    ],
)
def test_a_damaged_picture_is_named(tmp_path: Path, shown: Any, damage: Any, says: str) -> None:
    pictures = [encoded(each) for each in shown]
    pictures[7] = damage(pictures[7])
    with pytest.raises(DataError, match=says):
        reader.load(with_pictures(tmp_path / "set", pictures), cameras=[CAMERA])


def test_cameras_that_cannot_be_read_are_named(tmp_path: Path, shown: Any) -> None:
    root = with_pictures(tmp_path / "set", [encoded(each) for each in shown])
    with pytest.raises(DataError, match=f"no camera 'tip'.*\n.*{CAMERA}"):
        reader.load(root, cameras=["tip"])
    assert reader.load(root).frames == len(shown)
    archives.save(sighted.demonstrations(), tmp_path / "mine.npz")
    with pytest.raises(DataError, match="--cameras for"):
        files.load(tmp_path / "mine.npz", cameras=["top"])


def test_one_command_trains_a_policy_that_looks(tmp_path: Path, shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = with_pictures(tmp_path / "set", [encoded(each) for each in shown]), tmp_path / "run"
    command = ["segue", "train", "--data", str(root), "--cameras", CAMERA, "--updates", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    config = json.loads((out / "plain" / "last" / "config.json").read_text())
    assert config["policy"]["cameras"] == {CAMERA: list(SIZE)}


def test_distances_in_16_bits_are_no_picture(tmp_path: Path, shown: Any) -> None:
    """Pillow would cut them off at 255."""
    far = np.full(SIZE, 40_000, np.uint16)
    root = with_pictures(tmp_path / "set", [encoded(far), *(encoded(each) for each in shown[1:])])
    with pytest.raises(DataError, match="8 bits per colour"):
        reader.load(root, cameras=[CAMERA])


def test_pictures_in_every_form_of_a_file(tmp_path: Path, shown: Any) -> None:
    forms = [
        ("JPEG", {"progressive": True}),
        ("PNG", {"mode": "RGBA"}),
        ("JPEG", {"mode": "CMYK"}),
        ("PNG", {"mode": "P"}),
    ]
    files = []
    for picture, (form, settings) in zip(shown[:4], forms, strict=True):
        file = io.BytesIO()
        image = Image.fromarray(picture).convert(settings.pop("mode", "RGB"))
        image.save(file, form, quality=100, **settings)
        files.append(file.getvalue())
    root = with_pictures(tmp_path / "set", [*files, *(encoded(each) for each in shown[4:])])
    found = reader.load(root, cameras=[CAMERA]).pictures[CAMERA][:]
    assert np.abs(found[:4].astype(int) - shown[:4]).mean() < 8
    np.testing.assert_array_equal(found[4:], shown[4:])


def test_a_depth_camera_is_named_and_left_out(tmp_path: Path, shown: Any) -> None:
    root = with_pictures(tmp_path / "set", [encoded(each) for each in shown])
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["observation.images.depth"] = {"dtype": "image", "shape": [*SIZE, 1], "names": None}
    (root / "meta/info.json").write_text(json.dumps(info))
    assert files.cameras(root) == (CAMERA,)
    done = CliRunner().invoke(app, ["convert", str(root), str(tmp_path / "new")])
    said = " ".join(done.output.split())
    assert f"camera {CAMERA}" in said
    assert "dropped: camera observation.images.depth" in said
    np.testing.assert_array_equal(files.load(tmp_path / "new", cameras=[CAMERA]).pictures[CAMERA][:], shown)


def test_a_camera_is_found_by_its_short_name() -> None:
    info = {"features": {key: {"dtype": "image"} for key in ("observation.images.front", "left.wrist", "right.wrist")}}
    assert images.named(info, ["front", "observation.images.front"]) == ("observation.images.front",) * 2
    assert images.named(info, ["wrist", "ont", "right.wrist"]) == ("wrist", "ont", "right.wrist")
