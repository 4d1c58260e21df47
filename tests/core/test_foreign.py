"""Files that strangers wrote, in every reader: no device is read, no claim believed, no content a traceback."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from rich.console import Console
from typer.testing import CliRunner

from segue.cli import app
from segue.core import foreign
from segue.data import archive, files
from segue.errors import CheckpointError, DataError, SegueError
from segue.lab import cells, results
from segue.lab.delays import Fixed, Recorded
from segue.lab.sweep import Cell
from segue.methods.methods import method
from segue.trace import file as trace
from segue.training import checkpoint

READERS: dict[str, Callable[[Path], Any]] = {
    "set.npz": files.load,
    "set.hdf5": files.load,
    "set.zip": files.load,
    "results.json": results.read,
    "run.trace": trace.read,
    "latencies.txt": lambda file: Recorded.from_file(file, 0.1),
    "config.json": lambda file: checkpoint.load(file.parent, "segue/predictor/1"),
}


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def endless(file: Path) -> None:
    with file.open("wb") as content:
        content.truncate(2**35)  # takes no room


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("put", [device, os.mkfifo, Path.mkdir, endless])
def test_what_has_no_end_is_not_read(tmp_path: Path, name: str, put: Callable[[Path], Any]) -> None:
    put(tmp_path / name)
    with pytest.raises(SegueError, match=name.split(".")[0]):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("put", [device, os.mkfifo, Path.mkdir])
def test_what_has_no_end_is_no_trace_and_no_result(tmp_path: Path, put: Callable[[Path], Any]) -> None:
    put(tmp_path / "x")
    assert not trace.is_trace(tmp_path / "x")
    weights = tmp_path / "plain"
    weights.mkdir()
    cell = Cell("push-t", method("naive"), weights, 0, Fixed(4), 8, 10)
    (weights / "config.json").write_text('{"sha256": {"policy.safetensors": ""}}')
    put(cells.file_of(tmp_path, cells.described(cell)))
    assert cells.read(tmp_path, cells.described(cell), Console(quiet=True)) is None
    (weights / "config.json").unlink()
    put(weights / "config.json")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        cells.described(cell)
    (tmp_path / "results.json").write_text(json.dumps({"schema": results.SCHEMA}))
    put(tmp_path / results.TRACES)
    with pytest.raises(DataError, match=results.TRACES):
        results.read(tmp_path / "results.json")


TEXTS = ["[" * 10**5, '{"a":' * 10**5 + "1" + "}" * 10**5, "[" * 40 + "]" * 40, "9" * 5000, "{", "", "\udcff"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_anything_is_refused_as_the_reader_refuses(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    for kind in (DataError, CheckpointError):
        with pytest.raises(kind, match=r"a\.json"):
            foreign.read_json(file, kind)
    with pytest.raises(DataError):
        foreign.read_json_lines(file) if text else foreign.read_json(file)


def test_lines_end_where_json_says() -> None:
    """A separator of lines that is not escaped is a letter of a text to whoever writes one object per line."""
    words = "pick\u2028up\u0085it"
    assert foreign.parsed(json.dumps(words, ensure_ascii=False)) == words


def test_unusual_letters_in_lines(tmp_path: Path) -> None:
    lines = [{"task": "pick\u2028up\u0085it"}, {"task": "put it\x7f down"}]
    text = "\r\n".join(json.dumps(each, ensure_ascii=False) for each in lines)
    (tmp_path / "a.jsonl").write_bytes(f"\ufeff{text}\n\n".encode())
    assert foreign.read_json_lines(tmp_path / "a.jsonl") == lines


def bomb(path: Path, count: int) -> Path:
    """An archive of a few bytes, whose actions are so many zeros."""
    head = {"descr": "<f4", "fortran_order": False, "shape": (count, 1)}
    small = {"observation": np.zeros((3, 1)), "episode_ends": np.array([3]), "dt": np.array(0.1)}
    np.savez(path, **small)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as packed, packed.open("action.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, head)  # type: ignore[arg-type]
        for start in range(0, 4 * count, 2**20):
            member.write(bytes(min(2**20, 4 * count - start)))
    return path


def test_an_archive_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_ROOM", 2**20)
    with pytest.raises(DataError, match=r"'action' of .*GB in \d+ bytes"):
        archive.read(bomb(tmp_path / "a.npz", 2**19))
    assert archive.read(bomb(tmp_path / "b.npz", 2**17))["action"].shape == (2**17, 1)


def test_a_store_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that are not there, where whoever reads has said that they are zeros."""
    monkeypatch.setattr(foreign, "_ROOM", 2**20)
    for name, rows in (("few", 100), ("many", 2**20)):
        root = zarr.open_group(str(tmp_path / f"{name}.zarr"), mode="w", zarr_format=2)
        for key, shape in (("data/action", (rows, 2)), ("data/state", (rows, 2))):
            root.create_array(key, shape=shape, dtype="f4", chunks=(2**14, 2))
        root.create_array("meta/episode_ends", shape=(1,), dtype="i8")[:] = rows
    assert len(files.load(tmp_path / "few.zarr", rate=10, fill_missing=True).action) == 100
    with pytest.raises(DataError, match="data/action"):
        files.load(tmp_path / "many.zarr", rate=10, fill_missing=True)


def test_groups_that_hold_themselves_are_met_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["action"], file["observations/qpos"] = np.zeros((4, 2)), np.ones((4, 2))
        for number in range(100):
            file[f"observations/again {number}"] = file["observations"]
            file[f"root {number}"] = file["/"]
    assert files.load(tmp_path / "a.hdf5", rate=10).observation.shape == (4, 2)


def test_a_single_array_is_named_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as content:
        np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with pytest.raises(DataError, match="single array"):
        files.load(tmp_path / "a.npz")


CONTENTS: dict[str, Any] = {
    "nothing": {},
    "no rows": {"cells": [], "methods": [], "task": {}, "title": 1, "budget": {}},
    "rows of another kind": {"cells": [1, "two"], "methods": [None]},
    "rates of nothing": {"rates": 7},
    "traces of nothing": {"traces": [[]], "cells": {}, "methods": {}},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_results_with_another_content_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps({"schema": results.SCHEMA, **CONTENTS[name]}))
    done = CliRunner().invoke(app.app, ["report", str(tmp_path / "results.json")])
    assert isinstance(done.exception, DataError)
