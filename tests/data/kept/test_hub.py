"""The hub by name: what is taken of it, what is put there, and what is said where that fails. Its client is faked."""

import fnmatch
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.hub_server import run_of
from segue.data.kept import hub
from segue.data.kept.card import card
from segue.errors import CheckpointError, DataError, MissingExtraError

COMMIT = "0123abcd" * 5


class Client:
    """The functions of huggingface_hub that are used, on folders: repositories there, and the cache here."""

    class HttpError(Exception):
        """What it raises for an answer that is no success."""

    def __init__(self, folder: Path) -> None:
        self.repositories, self.cache = folder / "there", folder / "cache"
        self.online, self.asked = True, list[Any]()

    def snapshot_download(
        self, name: str, *, repo_type: str, revision: str | None, allow_patterns: Sequence[str]
    ) -> str:
        self.asked.append((name, repo_type, revision))
        here, there = self.cache / name / "snapshots" / COMMIT, self.repositories / name
        if not self.online:
            if here.is_dir():
                return str(here)
            raise FileNotFoundError("cannot be reached, and not in the cache")
        if not there.is_dir():
            raise self.HttpError("404")
        for file in there.rglob("*"):
            inside = str(file.relative_to(there))
            if file.is_file() and any(fnmatch.fnmatch(inside, pattern) for pattern in allow_patterns):
                (here / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, here / inside)
        return str(here)

    def create_repo(self, name: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        self.asked.append((name, repo_type, private))
        (self.repositories / name).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        if not self.online:
            raise self.HttpError("401")
        shutil.copytree(folder_path, self.repositories / repo_id, dirs_exist_ok=True)
        return SimpleNamespace(oid=COMMIT)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client(tmp_path)
    monkeypatch.setattr(hub, "_huggingface_hub", lambda: made)
    return made


def test_what_is_pushed_is_found_again_with_its_commit(client: Client, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    assert hub.push(run, "hf:me/door", "the card", private=True) == f"hf:me/door@{COMMIT}"
    there = client.repositories / "me" / "door"
    assert {str(each.relative_to(there)) for each in there.rglob("*") if each.is_file()} == {
        "README.md", "plain/last/config.json", "plain/last/policy.safetensors",
    }  # fmt: skip
    assert client.asked == [("me/door", "model", True)]
    found = hub.local("hf:me/door@main/plain")
    assert (found / "last" / "policy.safetensors").read_bytes() == b"001000"
    assert client.asked[-1] == ("me/door", "model", "main")
    assert hub.pinned("hf:me/door@main/plain", found) == f"hf:me/door@{COMMIT}/plain"
    client.online = False
    assert hub.local(Path("hf:me/door")) == found.parent  # the copy in the cache


def test_nothing_that_could_run_is_taken(client: Client) -> None:
    there = client.repositories / "you" / "thing"
    (there / "meta").mkdir(parents=True)
    for name in ("a.py", "b.pkl", "c.bin", "d.pt", "e.json", "f.safetensors", "meta/info.json", "g.parquet"):
        (there / name).write_text("{}")
    policy = {str(each.relative_to(found)) for found in [hub.local("hf:you/thing")] for each in found.rglob("*.*")}
    assert policy == {"e.json", "f.safetensors", "meta/info.json"}
    data = {each.name for each in hub.local("hf:you/thing", hub.DATA).rglob("*.*")}
    assert not data & {"a.py", "b.pkl", "c.bin", "d.pt"}
    assert "g.parquet" in data


@pytest.mark.parametrize("name", ["hf:door", "hf:a/b/../../c", "hf:a/b@x@y", "hf:", "hf:a b/c", "hf:../x"])
def test_what_is_no_name_is_refused(client: Client, name: str) -> None:
    with pytest.raises(DataError):
        hub.local(name)
    assert not client.asked


def test_what_does_not_go_is_said(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.local("runs/door") == Path("runs/door")
    with pytest.raises(DataError, match="hf auth login"):
        hub.local("hf:me/none")
    client.online = False
    with pytest.raises(DataError, match="in the cache"):
        hub.local("hf:me/none")
    with pytest.raises(DataError, match="no checkpoint"):
        hub.push(tmp_path, "hf:me/door", "")
    with pytest.raises(DataError, match="may write"):
        hub.push(run_of(tmp_path / "run"), "hf:me/door", "")
    with pytest.raises(DataError, match="leave revision"):
        hub.push(tmp_path / "run", "hf:me/door@main", "")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[hub\]'"):
        hub.local("hf:me/door")


def test_the_card_says_what_the_checkpoints_say(tmp_path: Path) -> None:
    run, results = run_of(tmp_path / "run"), tmp_path / "results.json"
    cells = [{"method": "legato", "delay": 4, "episodes": {"success": [1, 0]}} for _ in range(2)]
    results.write_text(json.dumps({"command": "segue eval door", "cells": cells}))
    text = card(run, "hf:me/door", licence="apache-2.0", data="mine.npz", results=results)
    assert text.startswith("---\nlibrary_name: segue\n")
    assert 'license: "apache-2.0"' in text
    assert "| plain | door \\| hand | 3 | 2000 | - | 8 | 10 | mlp |" in text
    assert "| legato | 4 | 0.500 | 4 |" in text
    assert "first-stage" not in text
    assert "license:" not in card(run, "hf:me/door")
    results.write_text("[]")
    with pytest.raises(DataError):
        card(run, "hf:me/door", results=results)
    (run / "plain" / "last" / "config.json").write_text("{")
    with pytest.raises(CheckpointError):
        card(run, "hf:me/door")
