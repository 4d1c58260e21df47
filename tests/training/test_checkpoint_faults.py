"""Checkpoints when things go wrong: killed processes, full disks, flipped bits, a ``last`` that points nowhere."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import TESTS
from fakes.checkpoints import OWNERS, RESUME, same, write
from fakes.point_mass import demonstrations, policy, recipe
from segue.errors import CheckpointError
from segue.training import checkpoint


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.faults)])
def test_fault_23_a_killed_save_leaves_a_whole_checkpoint(tmp_path: Path, kills: int) -> None:
    done = subprocess.run(
        [sys.executable, str(TESTS / "fakes" / "checkpoint_saver.py"), str(tmp_path / "run"), str(kills)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["kills"] == kills
    assert report["wrong"] == []
    assert report["left"] == []


WRITES = ["mkdtemp", "save_file", "write_text", "fsync", "symlink_to", "rename", "replace"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("step", WRITES)
def test_fault_23_a_full_disk_at_any_write_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, again: bool
) -> None:
    """The n-th call of each operation that writes fails, for every n that there is."""
    call = 0
    while True:
        run = tmp_path / str(call)
        write(run, 5, seed=0)
        owner = OWNERS.get(step, Path)
        original, left = getattr(owner, step), [call]

        def full(*args: Any, original: Any = original, left: list[int] = left, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return original(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, step, full)
            if left[0] == call and _saves(run, again):
                break
        found = checkpoint.load(run).policy()
        assert same(found, policy(seed=0)) or same(found, policy(seed=1))
        write(run, 5 if again else 10, seed=2)
        assert same(checkpoint.load(run).policy(), policy(seed=2))
        assert not list(run.glob(".*"))
        call += 1
    assert call >= 1  # at least one such call was made, and failed


def _saves(run: Path, again: bool) -> bool:
    try:
        write(run, 5 if again else 10, seed=1)
    except OSError:
        return False
    return True


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def note_fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", lambda path, to: (calls.append("rename"), rename(path, to))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (calls.append("last"), replace(path, to))[1])
    write(tmp_path)
    before = calls[: calls.index("rename")]
    assert {"policy.safetensors", "resume.safetensors", "config.json"} <= set(before)
    assert any(name.startswith(".writing-") for name in before)
    assert calls[-2:] == ["last", tmp_path.name]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("run"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["policy.safetensors", "resume.safetensors"]))
def test_fault_22_a_flipped_bit_is_refused_with_the_name_of_its_file(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "copy"
    shutil.copytree(saved, folder)
    content = bytearray((folder / name).read_bytes())
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256") as caught:
        checkpoint.load_resume(checkpoint.load(folder))
    assert name in caught.value.got


@pytest.mark.parametrize("hashes", [{}, {"policy.safetensors": "0" * 64}, {"policy.safetensors": 7}, [], None])
def test_wrong_hashes_are_refused(tmp_path: Path, hashes: Any) -> None:
    folder = write(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sha256": hashes}))
    if hashes == {}:
        assert checkpoint.load(folder).info["sha256"] == {}  # names nothing, like one of before there were hashes
        return
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["policy.safetensors", "resume.safetensors"])
def test_fault_22_a_renamed_pickle_is_refused_unopened(tmp_path: Path, name: str) -> None:
    folder, proof = write(tmp_path), tmp_path / "opened"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(proof),)

    torch.save({"weight": Bomb()}, folder / name)
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]  # not even then
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_resume(checkpoint.load(folder))
    assert name in caught.value.got
    assert not proof.exists()


def test_fault_23_a_last_that_points_nowhere_offers_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    for update in (5, 10, 15):
        write(tmp_path, update)
    shutil.rmtree(tmp_path / "000015")
    for path in (tmp_path, tmp_path / "last"):
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path)
        assert str(tmp_path / "000010") in caught.value.change
    assert checkpoint.load(tmp_path / "000010").info["update"] == 10


def test_what_is_offered_is_whole_in_all_of_its_files(tmp_path: Path) -> None:
    for update in (5, 10, 15):
        write(tmp_path, update)
    (tmp_path / "000015" / "policy.safetensors").write_bytes(b"")
    (tmp_path / "000010" / "resume.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated or damaged") as caught:
        checkpoint.load(tmp_path)
    assert "000005" in caught.value.change
    (tmp_path / "000005" / "config.json").write_text("{")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(tmp_path)
    assert "000005" not in caught.value.change
    assert checkpoint.newest_whole(tmp_path) is None


def test_updates_are_compared_as_numbers(tmp_path: Path) -> None:
    for update in (999_999, 1_000_000):
        write(tmp_path, update)
    assert checkpoint.newest_whole(tmp_path) == tmp_path / "1000000"


def test_a_last_that_is_a_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copied")  # follows links
    assert not (tmp_path / "copied" / "last").is_symlink()
    assert same(checkpoint.load(tmp_path / "copied").policy(), policy())


def test_training_does_not_start_over_a_run_whose_last_checkpoint_is_gone(tmp_path: Path) -> None:
    from rich.console import Console

    from segue.methods.methods import objective
    from segue.training.recipe import train_policy

    def train() -> None:
        train_policy(
            demonstrations(), recipe(updates=4, stages=1), "plain", objective("plain"), run=tmp_path,
            console=Console(quiet=True),
        )  # fmt: skip

    train()
    shutil.rmtree((tmp_path / "plain" / "last").resolve())
    with pytest.raises(CheckpointError, match="000002"):
        train()


def test_the_content_of_resume_is_verified_when_it_is_used(tmp_path: Path) -> None:
    folder = write(tmp_path)
    found = checkpoint.load(folder)
    assert torch.equal(checkpoint.load_resume(found)["raw.weight"], RESUME["raw.weight"])
    (folder / "resume.safetensors").write_bytes((folder / "resume.safetensors").read_bytes()[:-1])
    assert checkpoint.load(folder).info["update"] == 5  # running needs no resume
    with pytest.raises(CheckpointError, match=r"resume\.safetensors"):
        checkpoint.load_resume(found)
