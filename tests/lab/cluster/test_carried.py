"""Checkpoints that go to another machine as bytes."""

from pathlib import Path

import pytest

import segue
from fakes import checkpoints
from segue.errors import CheckpointError
from segue.lab import cells
from segue.lab.cluster.carried import packed, unpacked


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "policies"


def test_a_policy_arrives_as_it_was_without_what_resuming_needs(tmp_path: Path, cache: Path) -> None:
    folder = checkpoints.write(tmp_path / "run")
    there = unpacked(packed(tmp_path / "run"))
    assert checkpoints.same(segue.load(there).policy(), segue.load(folder).policy())
    assert cells.of_weights(there) == cells.of_weights(tmp_path / "run")
    assert not (there / "resume.safetensors").exists()
    assert [*cache.iterdir()] == [there]


def test_a_folder_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    contents = [packed(checkpoints.write(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    there = [unpacked(each) for each in (*contents, *contents)]
    assert there[:2] == there[2:]
    assert there[0] != there[1]


def test_what_is_damaged_in_the_cache_is_put_there_again(tmp_path: Path, cache: Path) -> None:
    content = packed(checkpoints.write(tmp_path / "run"))
    there = unpacked(content)
    for name in content:
        (there / name).write_bytes(b"")
        assert unpacked(content) == there
        assert packed(there) == content
    (there / "config.json").unlink()
    assert packed(unpacked(content)) == content
    assert [*cache.iterdir()] == [there]


def test_a_checkpoint_that_is_missing_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        packed(tmp_path / "nowhere")
