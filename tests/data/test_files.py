"""What is no recording of a kind that is read is named, with what to do about it; files of strangers have bounds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakes.lerobot_sets import DATA, change_info
from fakes.point_mass import demonstrations
from segue.core import foreign
from segue.data import files
from segue.data.lerobot import reader, writer
from segue.errors import DataError


def test_a_name_of_the_hub_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="hf download --repo-type dataset me/so101_pick"):
        files.load(Path("me/so101_pick"))
    with pytest.raises(DataError, match=r"no file mine.npz[\s\S]*check the path$"):
        files.load(Path("mine.npz"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pusht-train.tfrecord-00000-of-00004", "RLDS"),
        ("drive.mcap", "MCAP"),
        ("drive.bag", "ROS bag"),
        ("drive_0.db3", "ROS 2 bag"),
        ("rows.csv", "table of text"),
        ("file-000.parquet", "meta/info.json"),
        ("demos.pkl", "pickle"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / name).write_bytes(b"x")
    for path in (tmp_path / "there", tmp_path / "there" / name):
        with pytest.raises(DataError, match=said):
            files.load(path)


def test_a_folder_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder that holds nothing"):
        files.load(tmp_path)
    writer.save(demonstrations(), tmp_path / "inner", task="t")
    with pytest.raises(DataError, match=r"give .*inner"):
        files.load(tmp_path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000 + "]" * 100_000, '{"fps": ' + "9" * 5000 + "}", '{"a": ', "[]", '{"fps": 1}']
)
def test_texts_beyond_what_is_read_are_damage(tmp_path: Path, content: str) -> None:
    root = writer.save(demonstrations(), tmp_path / "set", task="t")
    (root / "meta/info.json").write_text(content)
    with pytest.raises(DataError):
        reader.load(root)
    with pytest.raises(DataError):
        files.cameras(root)


def test_names_nested_as_deep_as_a_parser_goes(tmp_path: Path) -> None:
    root = writer.save(demonstrations(), tmp_path / "set", task="t")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["action"]["names"] = "deep"
    text = json.dumps(info).replace('"deep"', "[" * 700 + '"a", "b"' + "]" * 700)
    (root / "meta/info.json").write_text(text)
    with pytest.raises(DataError, match="nested deeper"):
        reader.load(root)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fps": 10**400}, "fps"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"codebase_version": ["v3.0"]}, "codebase_version"),
        ({"features": {"action": {"dtype": "float32", "shape": [10**12]}}}, "feature 'action'"),
        ({"features": {"action": {"dtype": "float32", "shape": [10_000] * 7}}}, "feature 'action'"),
        ({"features": {"action": {"dtype": "float32", "shape": [[2]]}}}, "feature 'action'"),
        ({"features": ["action"]}, "no feature 'action'"),
    ],
)
def test_sizes_are_bounded_before_they_are_used(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    root = writer.save(demonstrations(), tmp_path / "set", task="t")
    change_info(**values)(root)
    with pytest.raises(DataError, match=said):
        reader.load(root)


def test_a_few_bytes_that_stand_for_any_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = writer.save(demonstrations(), tmp_path / "set", task="t")
    monkeypatch.setattr("segue.data.lerobot.tables._MOST", 20)
    with pytest.raises(DataError, match="at most 20"):
        reader.load(root)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/zero"), os.mkfifo], ids=["device", "pipe"])
def test_devices_and_pipes_are_not_read(tmp_path: Path, make: Any) -> None:
    for file, said in ((DATA, "no ordinary file"), (Path("meta/info.json"), "no ordinary file")):
        root = writer.save(demonstrations(), tmp_path / file.stem, task="t")
        (root / file).unlink()
        make(root / file)
        with pytest.raises(DataError, match=said):
            reader.load(root)
    root = writer.save(demonstrations(), tmp_path / "words", task="t")
    (root / "meta/tasks.parquet").unlink()
    make(root / "meta/tasks.parquet")
    assert "no ordinary file" in reader.load(root).origin.notes[0]


def test_an_archive_is_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="no ordinary file"):
        files.load(tmp_path / "a.npz")


def test_a_text_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("12345")
    assert foreign.text(tmp_path / "a", largest=5) == "12345"
    with pytest.raises(DataError, match="at most 4"):
        foreign.text(tmp_path / "a", largest=4)
