"""Pictures in LeRobot's tables: decoded when they are asked for, and refused with the row that is wrong."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

import sighted
from segue.cli import main
from segue.core.observation import Observation
from segue.data import files
from segue.data.lerobot import reader, writer
from segue.errors import DataError

CAMERA = "observation.images.top"
SIZE = (24, 24)
DATA = Path("data/chunk-000/file-000.parquet")


def encoded(picture: Any, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form, quality=95)
    return file.getvalue()


def with_pictures(root: Path, files: Sequence[bytes | None]) -> Path:
    """A data set of the point mass, written without pictures and given them as LeRobot stores them."""
    writer.save(sighted.demonstrations(), root, task="move the mass")
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
    with pytest.raises(DataError, match=f"no camera 'top'.*\n.*{CAMERA}"):
        reader.load(root, cameras=["top"])
    assert reader.load(root).frames == len(shown)
    with pytest.raises(DataError, match="--cameras for"):
        files.load(tmp_path / "mine.npz", cameras=["top"])


def test_one_command_trains_a_policy_that_looks(tmp_path: Path, shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = with_pictures(tmp_path / "set", [encoded(each) for each in shown]), tmp_path / "run"
    command = ["segue", "train", "--data", str(root), "--cameras", CAMERA, "--updates", "2", "--out", str(out)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    config = json.loads((out / "legato" / "last" / "config.json").read_text())
    assert config["policy"]["vision"]["cameras"] == {CAMERA: list(SIZE)}
