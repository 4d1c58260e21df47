"""What a frozen encoder says of pictures, kept: the same as on the fly, asked once, made anew where it is not whole."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from fakes import point_mass_with_pictures as sighted
from segue.core.observation import Observation
from segue.errors import SpecError
from segue.policies.encoders.kept import Said, seen_by
from segue.policies.encoders.pretrained import Pretrained
from segue.policies.observation import on_device
from segue.policies.policy import Policy
from segue.strategies.naive import FlowMatching
from segue.training.config import Conduct
from segue.training.loop import train
from segue.training.recipe import train_policy

transformers = pytest.importorskip("transformers")
QUIET, CAMERA = Console(quiet=True), sighted.CAMERA
STATISTICS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"height": 16, "width": 16}}


def saved(folder: Path, seed: int) -> Path:
    """A backbone with random weights."""
    torch.manual_seed(seed)
    settings = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    transformers.ResNetModel(settings).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
    return folder


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SEGUE_PICTURES_GB", raising=False)
    return tmp_path / "cache" / "pictures"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pictures that the backbone was asked about, call by call."""
    counts, original = list[int](), Pretrained.said

    def said(self: Pretrained, pictures: Any) -> Any:
        counts.append(len(pictures[0]))
        return original(self, pictures)

    monkeypatch.setattr(Pretrained, "said", said)
    return counts


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Policy]:
    def policy(seed: int = 5, crop: float = 1, **settings: Any) -> Policy:
        folder = saved(tmp_path / f"backbone-{seed}", seed)
        encoder = {"encoder": "pretrained", "settings": {"backbone": str(folder), "width": 6, **settings}, "crop": crop}
        torch.manual_seed(0)
        return sighted.recipe(vision=encoder).policy(sighted.demonstrations())

    return policy


def trained(policy: Policy, run: Path) -> Policy:
    stage = replace(sighted.recipe().training, updates=6)
    return train(policy, sighted.demonstrations(), FlowMatching(), stage, run=run, title="", console=QUIET)


def test_a_context_from_what_is_kept_is_that_of_the_pictures(made: Callable[..., Policy], kept: Path) -> None:
    policy, episodes = made(), sighted.demonstrations()
    shown = seen_by(policy.units, episodes.pictures)[CAMERA]
    assert isinstance(shown, Said)
    frames = np.array([3, 90, 0, 41, 3])
    state = episodes.observation[frames]
    looked, told = (
        policy.units.encode(on_device(Observation(state, {CAMERA: each[frames]}), torch.device("cpu")))
        for each in (episodes.pictures[CAMERA], shown)
    )
    torch.testing.assert_close(told, looked, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(told[0], told[1], atol=1e-3)
    assert len(list(kept.iterdir())) == 1


def test_training_is_the_same_with_and_without(
    made: Callable[..., Policy], tmp_path: Path, asked: list[int], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = sighted.demonstrations().frames
    with_it = trained(made(), tmp_path / "with")
    assert sum(asked) == frames
    shutil.rmtree(kept)
    monkeypatch.setenv("SEGUE_PICTURES_GB", "0")  # no room
    without = trained(made(), tmp_path / "without")
    assert len(asked) == -(-frames // 64) + 6  # once per update
    for one, other in zip(with_it.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_what_is_kept_serves_every_share_and_stage_and_another_encoder_makes_its_own(
    made: Callable[..., Policy], tmp_path: Path, asked: list[int], kept: Path
) -> None:
    episodes, units = sighted.demonstrations(), made().units
    settings = {"backbone": str(tmp_path / "backbone-5"), "width": 6}
    recipe = sighted.recipe(8, vision={"encoder": "pretrained", "settings": settings, "crop": 1})
    for seed in (0, 1):
        train_policy(
            episodes, recipe, "plain", FlowMatching(), run=tmp_path / str(seed), seed=seed, console=QUIET,
            conduct=Conduct(held_out=0.4),
        )  # fmt: skip
        assert sum(asked) == episodes.frames  # both stages, what is held out, the other seed
    seen_by(units, episodes.select([1]).pictures)
    assert sum(asked) == episodes.frames
    for n, other in enumerate((made(6), made(mean=[0.5, 0.5, 0.5]))):
        seen_by(other.units, episodes.pictures)
        assert sum(asked) == (2 + n) * episodes.frames
    assert len(list(kept.iterdir())) == 3


def test_what_is_cut_or_of_other_pictures_is_made_anew(
    made: Callable[..., Policy], asked: list[int], kept: Path
) -> None:
    episodes, units = sighted.demonstrations(), made().units
    first = np.array(seen_by(units, episodes.pictures)[CAMERA][:])
    [file] = kept.rglob("0.raw")
    file.write_bytes(file.read_bytes()[:-1])
    np.testing.assert_array_equal(seen_by(units, episodes.pictures)[CAMERA][:], first)
    assert sum(asked) == 2 * episodes.frames
    assert file.stat().st_size == first.nbytes
    episodes.pictures[CAMERA].store[0, 0, 0, 0] += 1
    seen_by(units, episodes.pictures)
    assert sum(asked) == 3 * episodes.frames


@pytest.mark.parametrize("how", [{"crop": 0.75}, {"learned": True}])
def test_what_is_not_always_the_same_is_not_kept(made: Callable[..., Policy], kept: Path, how: dict[str, Any]) -> None:
    policy, episodes = made(**how), sighted.demonstrations()
    assert seen_by(policy.units, episodes.pictures) is episodes.pictures
    assert not kept.exists()


def test_numbers_that_no_encoder_has_said_are_refused(made: Callable[..., Policy], kept: Path) -> None:
    for policy, width in ((made(), 15), (made(learned=True), 16), (made(crop=0.75), 16)):
        wrong = Observation(torch.zeros(1, 2), {CAMERA: torch.zeros(1, width)})
        with pytest.raises(SpecError, match="uint8"):
            policy.units.encode(wrong)
