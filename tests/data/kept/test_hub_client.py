"""The hub through huggingface_hub itself, against one on this machine: pushed, found, pinned, refused, offline."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.hub_server import TOKEN, Hub, run_of, serving

pytest.importorskip("huggingface_hub")
# The client reads its address once, when it is imported: a process of its own, which does what it is told line by line.
FOLLOWS = """
import json, os, sys
from typer.testing import CliRunner
from segue.cli.app import app
from segue.data.kept import hub
from segue.errors import SegueError
for line in sys.stdin:
    done, words = {}, json.loads(line)
    os.environ["HF_TOKEN"] = words.pop(0)
    try:
        if words[0] == "local":
            done["found"] = str(hub.local(*words[1:]))
        else:
            done["said"] = CliRunner().invoke(app, words, catch_exceptions=False).output
    except SegueError as error:
        done["refused"] = str(error)
    print(json.dumps(done), file=sys.__stdout__, flush=True)
"""


class Client:
    def __init__(self, url: str, home: Path) -> None:
        told = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "COLUMNS": "400"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FOLLOWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **told, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        )  # fmt: skip

    def __call__(self, *words: str, token: str = TOKEN) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([token, *words]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as made:
        yield made


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Iterator[Client]:
    made = Client(hub.url, tmp_path / "home")
    yield made
    made.process.kill()
    made.process.communicate()


def files(folder: str) -> set[str]:
    return {str(each.relative_to(folder)) for each in Path(folder).rglob("*") if each.is_file()}


def test_a_run_goes_to_the_hub_and_comes_back_pinned_whole_and_without_what_could_run(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    run, results = run_of(tmp_path / "run"), tmp_path / "results.json"
    (run / "config.toml").write_text('task = "gymnasium:Door-v1"\ndata = "hf:you/doors@0123abc"\n')
    cells = [{"method": "legato", "delay": 4, "episodes": {"success": [1, 0]}}]
    results.write_text(json.dumps({"command": "segue eval door", "cells": cells}))
    done = client("push", str(run), "hf:me/door", "--licence", "apache-2.0", "--results", str(results))
    [commit] = hub.commits["me/door"]
    assert f"uploaded: hf:me/door@{commit}" in done["said"]
    kept = {"README.md", "plain/last/config.json", "plain/last/policy.safetensors"}
    assert hub.commits["me/door"][commit].keys() == kept
    card = hub.commits["me/door"][commit]["README.md"].decode()
    for word in ('license: "apache-2.0"', "hf:you/doors@0123abc", "| plain | door \\| hand | 3 | 2000 |", "0.500"):
        assert word in card

    evil = dict.fromkeys(("policy.pkl", "plain/last/pytorch_model.bin", "modeling.py", "a.npz"), b"\x80\x04.")
    newer = hub.commit("me/door", {**evil, "plain/last/policy.safetensors": b"newer"})
    newest = client("local", "hf:me/door")["found"]
    assert newest.endswith(newer)
    assert files(newest) == kept - {"README.md"}
    assert not {*evil} & {*hub.given}
    pinned = client("local", f"hf:me/door@{commit}/plain")["found"]
    assert Path(pinned, "last", "policy.safetensors").read_bytes() == b"001000"
    assert Path(newest, "plain", "last", "policy.safetensors").read_bytes() == b"newer"
    hub.commit("you/set", {"a.npz": b"data", "load.py": b"evil", "meta/info.json": b"{}"})
    assert files(client("local", "hf:you/set", "dataset")["found"]) == {"a.npz", "meta/info.json"}

    for words, why in (
        (("local", "hf:me/none"), "check name and revision"),
        (("local", "hf:me/door@v9"), "check name and revision"),
    ):
        assert why in client(*words)["refused"]
    assert "token that may write" in client("push", str(run), "hf:me/other", token="hf_reads")["refused"]


def test_without_a_network_what_is_there_is_read_and_what_is_not_is_said(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    commit = hub.commit("me/door", {"plain/last/config.json": b"{}"})
    there = client("local", "hf:me/door")["found"]
    hub.shutdown()
    hub.server_close()
    for name in ("hf:me/door", "hf:me/door@main", f"hf:me/door@{commit}"):
        assert client("local", name)["found"] == there
    assert "without a network" in client("local", "hf:me/none")["refused"]
    assert "a network" in client("push", str(run_of(tmp_path / "run")), "hf:me/door")["refused"]
