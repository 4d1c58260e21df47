"""Backbones of `transformers`, tiny and random, saved to a folder and taken from there; nothing is downloaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from fakes import point_mass_with_pictures as sighted
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation
from segue.errors import CheckpointError, SpecError
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.encoders.pretrained import Pretrained, described
from segue.strategies.naive import FlowMatching, Naive
from segue.training import checkpoint
from segue.training.loop import train

transformers = pytest.importorskip("transformers")
QUIET = Console(quiet=True)
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
STATISTICS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "size": {"height": 28, "width": 28}}
MODELS: dict[str, Any] = {
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, image_size=28, patch_size=14)),
    "siglip": lambda: transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(**SMALL, intermediate_size=16, image_size=28, patch_size=14)
    ),
}


@pytest.fixture(params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(5)
    model = MODELS[request.param]().eval()
    if request.param == "resnet":  # statistics of batches that show whether they are used
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    model.save_pretrained(tmp_path / "backbone")
    (tmp_path / "backbone" / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
    return tmp_path / "backbone"


def vision(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"encoder": "pretrained", "settings": {"backbone": str(folder), "width": 6, **settings}, "crop": 1}


def test_it_says_what_the_model_says(folder: Path) -> None:
    """Resized and normalised by hand, through the model as transformers loads it."""
    encoder = Pretrained({"a": (40, 40), "b": (28, 28)}, **described({"backbone": str(folder), "width": 6}))
    encoder.start()
    pictures = [torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8) for size in (40, 28)]
    features = encoder(pictures)
    assert features.shape == (2, encoder.features) == (2, 12)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    scaled = (pictures[1].double().numpy() / 255 - STATISTICS["image_mean"]) / STATISTICS["image_std"]
    with torch.no_grad():
        said = model(pixel_values=torch.as_tensor(scaled, dtype=torch.float32).permute(0, 3, 1, 2)).pooler_output
        torch.testing.assert_close(features[:, 6:], encoder.projections[1](said.flatten(1)), atol=1e-4, rtol=1e-4)
    alone = encoder([pictures[0][:1], pictures[1][:1]])
    torch.testing.assert_close(alone, features[:1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("learned", [False, True])
def test_a_backbone_is_frozen_or_trained_and_checkpoints_need_its_folder_no_more(
    folder: Path, tmp_path: Path, learned: bool
) -> None:
    episodes = sighted.demonstrations()
    torch.manual_seed(0)
    made = sighted.recipe(vision=vision(folder, learned=learned)).policy(episodes)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    source = transformers.AutoModel.from_pretrained(folder).state_dict()
    ours = {name.split("backbone.")[1]: value for name, value in before.items() if "backbone." in name}
    assert ours.keys() == source.keys()
    assert all(torch.equal(ours[name], value) for name, value in source.items())
    stage = replace(sighted.recipe().training, updates=2)
    trained = train(made, episodes, FlowMatching(), stage, run=tmp_path / "run", title="", console=QUIET)
    shutil.rmtree(folder)
    back = checkpoint.load(tmp_path / "run").policy()
    after = back.state_dict()
    learnable = {name for name, _ in trained.named_parameters()}
    for name in (each for each in after if "backbone." in each):
        assert (name in learnable) <= learned
        if name not in learnable:
            assert torch.equal(after[name], before[name])
    moved = [name for name in after if "backbone." in name and not torch.equal(after[name], before[name])]
    assert bool(moved) == learned
    assert any("projections" in name and not torch.equal(after[name], before[name]) for name in after)
    seen = Observation(np.zeros(2, np.float32), {sighted.CAMERA: sighted.picture(np.zeros(2))})
    chunks = [
        ContinuingPolicy(each, Naive()).next_chunk(seen, nothing_to_continue(0, 2, 3)) for each in (trained, back)
    ]
    assert np.array_equal(chunks[0], chunks[1])


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    episodes = sighted.demonstrations()
    with pytest.raises(SpecError, match="set `backbone`"):
        sighted.recipe(vision={"encoder": "pretrained"}).policy(episodes)
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        described({"backbone": str(tmp_path / "nowhere")})
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 28}))
    with pytest.raises(CheckpointError, match="mean"):
        described({"backbone": str(folder)})
    assert described({"backbone": str(folder), "mean": [0, 0, 0], "std": [1, 1, 1]})["size"] in (28, 224)
    (folder / "preprocessor_config.json").write_text(json.dumps(STATISTICS))
    made = Pretrained({"a": (28, 28)}, **described({"backbone": str(folder)}))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="safetensors"):
        made.start()
