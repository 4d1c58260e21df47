"""Checkpoints of strangers: whatever is in the folder, it is refused as ours are refused, and costs little."""

import json
import os
import resource
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fakes.checkpoints import same, write
from fakes.point_mass import policy
from segue.errors import CheckpointError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder
from segue.policies.normalizer import Normalizer
from segue.training import autoencoder, bounded, checkpoint
from segue.training.resume import restore

MIB = 2**20


def altered(run: Path, change: Callable[[dict[str, Any]], Any], **settings: Any) -> Path:
    """A checkpoint whose configuration somebody has changed."""
    folder = write(run, **settings)
    info = json.loads((folder / "config.json").read_text())
    changed = change(info)
    (folder / "config.json").write_text(json.dumps(info if changed is None else changed))
    return folder


def setting(name: str, value: Any, section: str = "policy") -> Callable[[dict[str, Any]], None]:
    return lambda info: info[section].update({name: value})


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


TEXTS = {
    "nested lists": "[" * 10**5 + "]" * 10**5,
    "nested maps": '{"a":' * 10**5 + "1" + "}" * 10**5,
    "a list that never ends": "[" * 10**6,
    "5000 digits": '{"format": ' + "9" * 5000 + "}",
    "5000 digits of an update": '{"format": "segue/policy/2", "update": ' + "9" * 4000 + "}",
    "no text": "\udcff\udcfe\udc80",
    "a number": "7",
    "a list": "[]",
    "nothing": "null",
    "a format that is a list": '{"format": [1]}',
    "a format without end": json.dumps({"format": "x" * 10**6}),
    "an update that is no number": '{"format": "segue/policy/2", "update": NaN}',
    "an update in words": '{"format": "segue/policy/2", "update": "5"}',
    "an update before the first": '{"format": "segue/policy/2", "update": -1}',
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_configuration_that_is_anything_is_refused(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path)
    (folder / "config.json").write_bytes(TEXTS[text].encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    assert len(str(caught.value)) < 1000
    assert checkpoint.format_of(folder) is None or "format" in text or "update" in text
    assert checkpoint.newest_whole(tmp_path) is None


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    with file.open("wb") as content:
        content.truncate(bounded.LARGEST_WEIGHTS + 1)  # takes no room


@pytest.mark.parametrize("name", ["config.json", "policy.safetensors", "resume.safetensors"])
@pytest.mark.parametrize("put", [device, pipe, Path.mkdir, endless])
def test_what_is_no_ordinary_file_is_not_read(tmp_path: Path, name: str, put: Callable[[Path], None]) -> None:
    folder = write(tmp_path)
    (folder / name).unlink()
    put(folder / name)
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load_resume(checkpoint.load(folder))


def test_links_to_ordinary_files_are_read(tmp_path: Path) -> None:
    """As downloads lie in caches."""
    folder = write(tmp_path / "run")
    blobs = tmp_path / "blobs"
    folder.rename(blobs)
    folder.mkdir()
    for file in blobs.iterdir():
        (folder / file.name).symlink_to(file)
    assert same(checkpoint.load(folder).policy(), policy())


NUMBERS = {
    "dt": (float("nan"), float("inf"), float("-inf"), 0, -0.02, 1e-300, 1e300, True, "0.02", None, [0.02]),
    "horizon": (0, -8, 8.5, 10**9, float("nan"), True, "8", None),
    "denoising_steps": (0, -1, 10**9, float("nan"), float("inf"), 2.5),
    "relative_to": ([-1, None], [99, None], [float("nan"), None], [0.0, None], 7, [True, None]),
    "observation_names": (7, None, [1, 2, 3, 4], ["x"] * 5000, {}),
    "action_names": ("xy", [["x"], ["y"]], []),
    "cameras": ({"front": [-1, 5]}, {"front": [10**9, 5]}, {"front": [float("nan"), 5]}, {"front": [5]}, [], "front"),
    "action_kinds": (7, None, ["angle"], ["angel", "linear"], [["angle"], "linear"]),
    "vision": (
        {"cameras": {"front": [-1, 5]}}, {"cameras": {"front": [10**9, 5]}}, {"cameras": {"front": [float("nan"), 5]}},
        {"cameras": {"front": [8, 8]}, "settings": {"size": 10**5}},
        {"cameras": {"front": [5]}}, {"cameras": []}, {"cameras": {}, "crop": float("nan")}, "front", 7,
    ),
    "network": (None, 7, "resnet", ["mlp"]),
    "network_settings": ({"width": 10**30}, {"width": float("inf")}, {"width": [64]}, {"x": 1}, [1], "wide"),
    "no_such_setting": (1, None),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, values in NUMBERS.items() for each in values])
def test_a_setting_that_is_no_ordinary_value_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    folder = altered(tmp_path, setting(name, value))
    with pytest.raises(CheckpointError):
        checkpoint.load(folder).policy()


@pytest.mark.parametrize("section", [None, 7, "flo", [], [1], {"policy": {}}])
@pytest.mark.parametrize("name", ["policy", "autoencoder", "family"])
def test_a_section_that_is_anything_is_refused(tmp_path: Path, name: str, section: Any) -> None:
    folder = altered(tmp_path, lambda info: info.update({name: section}))
    with pytest.raises(CheckpointError):
        checkpoint.load(folder).policy()


SIZES = {
    "mlp": [{"width": 30_000}, {"width": 2**20}, {"width": 2**40}, {"depth": 100_000}],
    "mixer": [{"width": 30_000}, {"depth": 100_000}, {"token_width": 10**6}, {"channel_width": 10**6}],
    "unet": [{"width": 30_000}, {"condition_width": 10**6}],
    "transformer": [{"width": 30_000, "heads": 2}, {"depth": 100_000}],
}


@pytest.mark.parametrize(("network", "settings"), [(name, each) for name, several in SIZES.items() for each in several])
def test_a_network_larger_than_its_weights_is_not_built(tmp_path: Path, network: str, settings: Any) -> None:
    folder = altered(tmp_path, setting("network_settings", settings), network=network)
    checkpoint.load(folder)
    before = peak()
    with pytest.raises(CheckpointError, match=r"larger than its weights|up to 1048576"):
        checkpoint.load(folder).policy()
    assert peak() - before < 256 * MIB


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bottleneck_settings", {"codes": 2**20, "levels": 1000}), ("network_settings", {"width": 30_000}),
        ("latent", 4000), ("latent", float("nan")), ("stride", 0), ("horizon", -8), ("no_such_setting", 1),
    ],
)  # fmt: skip
def test_an_autoencoder_larger_than_its_weights_is_not_built(tmp_path: Path, field: str, value: Any) -> None:
    config = AutoencoderConfig(8, ("x", "y"), 2, bottleneck="quantized")
    codec = ChunkAutoencoder(config, Normalizer.identity(2))
    error = {name: [0.0, 0.0] for name in ("mean", "p95", "spread")}
    content = {"format": autoencoder.FORMAT, "autoencoder": asdict(config), "held_out_error": error}
    good, _ = autoencoder.load_autoencoder(checkpoint.write(tmp_path / "good", 5, codec, content, {}))
    assert all(torch.equal(good.state_dict()[name], each) for name, each in codec.state_dict().items())
    content["autoencoder"][field] = value
    before = peak()
    with pytest.raises(CheckpointError):
        autoencoder.load_autoencoder(checkpoint.write(tmp_path / "bad", 5, codec, content, {}))
    assert peak() - before < 256 * MIB


def test_own_checkpoints_are_read_and_nothing_stays_behind(tmp_path: Path) -> None:
    found = checkpoint.load(write(tmp_path)).policy()
    assert same(found, policy())
    assert not any(each.is_meta for each in found.state_dict().values())
    assert nn.Linear(2000, 2000).weight.numel() == 4 * 10**6  # larger than that policy


def test_modules_of_other_threads_are_their_own_business() -> None:
    made: list[nn.Module] = []

    def build() -> nn.Module:
        other = threading.Thread(target=lambda: made.append(nn.Linear(500, 500)))
        other.start()
        other.join()
        return nn.Linear(2, 2)

    weights = nn.Linear(2, 2).state_dict()
    assert torch.equal(bounded.built(build, weights).state_dict()["weight"], weights["weight"])
    assert len(made) == 2


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = altered(tmp_path, lambda info: info.pop("sha256") and None)
    weights = load_file(folder / "policy.safetensors")
    for name in weights:
        spoilt = {**weights, name: torch.full_like(weights[name], torch.nan)}
        save_file(spoilt, folder / "policy.safetensors")
        with pytest.raises(CheckpointError, match="NaN"):
            checkpoint.load(folder).policy()


@pytest.mark.parametrize("key", ["adam.0", "adam.x.step", "adam.0.step.more", "adam."])
def test_moments_under_strange_names_are_refused(tmp_path: Path, key: str) -> None:
    made = policy()
    state = {f"raw.{name}": weight.detach() for name, weight in made.named_parameters()} | {key: torch.zeros(3)}
    saved = checkpoint.load(checkpoint.save(tmp_path, 5, made, {}, state))
    with pytest.raises(CheckpointError):
        restore(saved, made, policy(), torch.optim.AdamW(made.parameters()))
