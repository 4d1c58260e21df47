"""Decoded pictures are kept by content: found again, never when half done, and bounded."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import point_mass_with_pictures as sighted
from segue.data.kept.decoded import Room, key_of
from segue.data.lerobot import images, reader, writer
from segue.errors import DataError

SIZE = 10 * (4 * 5 + 2 * 2) * 3


def shapes(frames: int = 10) -> dict[str, tuple[int, ...]]:
    return {"top": (frames, 4, 5, 3), "wrist": (frames, 2, 2, 3)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SEGUE_PICTURES_GB", str(2.5 * SIZE / 1e9))
    return tmp_path / "cache" / "pictures"


def filled(letter: str, value: int) -> Room:
    room = Room(letter * 64, shapes())
    assert room.stores is not None
    if not room.whole:
        for store in room.stores.values():
            store[:] = value
        room.keep()
    return room


def test_what_is_kept_is_found_and_what_is_not_leaves_nothing(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / ".writing-killed").mkdir()
    os.utime(cache / ".writing-killed", (1, 1))  # long ago
    unfinished = Room("a" * 64, shapes())
    assert not unfinished.whole
    del unfinished
    assert not list(cache.iterdir())
    filled("a", 7)
    assert [each.name for each in cache.iterdir()] == ["a" * 64]
    again = Room("a" * 64, shapes())
    assert again.whole
    assert again.stores is not None
    assert {name: store.shape for name, store in again.stores.items()} == shapes()
    assert all((store == 7).all() and not store.flags.writeable for store in again.stores.values())
    assert not Room("a" * 64, shapes(11)).whole  # fewer pictures there than are wanted


def test_the_least_recently_used_give_way(cache: Path) -> None:
    first = filled("a", 1)
    filled("b", 2)
    os.utime(cache / ("b" * 64), (1, 1))
    filled("c", 3)
    assert {each.name[0] for each in cache.iterdir()} == {"a", "c"}
    assert first.stores is not None
    assert (first.stores["top"] == 1).all()


def test_beyond_the_bound_or_where_nothing_can_be_written_there_is_no_room(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Room("a" * 64, shapes(30)).stores is None
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("no folder")
    assert Room("a" * 64, shapes()).stores is None
    monkeypatch.setenv("SEGUE_PICTURES_GB", "much")
    with pytest.raises(DataError, match="SEGUE_PICTURES_GB"):
        Room("a" * 64, shapes())


def test_the_name_is_that_of_the_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    assert key_of([one], a=1) == key_of([other], a=1) != key_of([one], a=2)
    other.write_bytes(b"2")
    assert key_of([one], a=1) != key_of([other], a=1)


def test_a_data_set_is_decoded_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_PICTURES_GB", "1")
    made, camera = sighted.demonstrations(), f"observation.images.{sighted.CAMERA}"
    root = writer.save(made, tmp_path / "set", task="t")
    calls: list[int] = []
    original = images.decoded

    def counted(*given: Any) -> Any:
        calls.append(1)
        return original(*given)

    monkeypatch.setattr(images, "decoded", counted)
    for decodings in (made.frames, made.frames):  # the second time, no more
        seen = reader.load(root, cameras=[camera])
        np.testing.assert_array_equal(seen.pictures[camera][:], made.pictures[sighted.CAMERA][:])
        np.testing.assert_array_equal(seen.action, made.action)
        assert len(calls) == decodings
    assert len(list(cache.iterdir())) == 1
    part = reader.load(root, cameras=[camera], episodes=[1])  # another choice is another content
    np.testing.assert_array_equal(part.pictures[camera][:], made.episode(1).pictures[sighted.CAMERA][:])
