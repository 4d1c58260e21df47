"""Checkpoints: what comes back, what is refused, and that ``last`` is whole whenever the process is killed."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from fakes.checkpoints import OWNERS, RESUME, as_written_before, same, trust, write
from fakes.point_mass import demonstrations, policy, recipe
from segue.errors import CheckpointError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder
from segue.policies.diffusion import DiffusionPolicy
from segue.policies.families import config_for, policy_for
from segue.policies.flow import FlowPolicy
from segue.strategies.legato import LegatoObjective
from segue.training import checkpoint
from segue.training.recipe import train_policy

QUIET = Console(quiet=True)


@pytest.mark.parametrize("network", ["mlp", "mixer", "unet", "transformer"])
def test_a_policy_comes_back_to_the_bit(tmp_path: Path, network: str) -> None:
    settings = {"relative": True, "network": network, "predicts": "velocity"}
    made = policy(**settings)
    checkpoint.save(tmp_path, 5, made, {}, RESUME)
    found = checkpoint.load(tmp_path)
    back = found.policy()
    assert isinstance(back, FlowPolicy)
    assert same(back, made)
    assert asdict(back.config) == asdict(made.config)
    assert not back.training
    x, t, w = torch.randn(2, 8, 2), torch.rand(2), torch.rand(2, 8)
    context = torch.randn(2, 4)
    assert torch.equal(back.velocity(x, t, w, context), made.velocity(x, t, w, context))
    assert torch.equal(checkpoint.load_resume(found)["raw.weight"], RESUME["raw.weight"])


def test_a_run_and_its_checkpoint_are_both_a_path(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert folder.name == "000005"
    for path in (tmp_path, folder, str(tmp_path / "last")):
        assert checkpoint.load(path).path == folder.resolve()
    assert checkpoint.load(tmp_path).info["update"] == 5
    assert checkpoint.load(tmp_path).info["training"] == {"updates": 9}


def test_last_is_the_newest_and_the_others_stay(tmp_path: Path) -> None:
    first, second = write(tmp_path, 5), write(tmp_path, 10, seed=1)
    assert checkpoint.load(tmp_path).path == second.resolve()
    assert same(checkpoint.load(first).policy(), policy(seed=0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000005", "000010", "last"]


def test_a_run_can_be_moved(tmp_path: Path) -> None:
    write(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert same(checkpoint.load(tmp_path / "there").policy(), policy())


def shorten(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_weight_file_is_refused(tmp_path: Path, share: float) -> None:
    shorten(write(tmp_path) / "policy.safetensors", share)
    with pytest.raises(CheckpointError, match="truncated") as caught:
        checkpoint.load(tmp_path)
    assert "policy.safetensors" in caught.value.got


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_config_is_refused(tmp_path: Path, share: float) -> None:
    shorten(write(tmp_path) / "config.json", share)
    with pytest.raises(CheckpointError, match="not JSON"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("layout", ["segue/flow-policy/1", "segue/policy/1", "segue/policy/2"])
def test_policies_of_older_layouts_are_read(tmp_path: Path, layout: str) -> None:
    as_written_before(write(tmp_path), layout)
    names = load_file(tmp_path / "last" / "policy.safetensors")
    assert ("observation.mean" in names) == (layout != "segue/policy/2")
    found = checkpoint.load(tmp_path)
    assert (found.info["family"], found.info["format"]) == ("flow", "segue/policy/2")
    assert same(found.policy(), policy())


def test_a_diffusion_policy_of_before_it_could_say_the_actions_says_the_noise(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    folder = checkpoint.save(tmp_path, 1, recipe(family="diffusion").policy(demonstrations()), {}, RESUME)
    content = json.loads((folder / "config.json").read_text())
    assert content["policy"].pop("predicts") == "action"
    (folder / "config.json").write_text(json.dumps(content))
    trust(folder)
    found = checkpoint.load(folder).policy()
    assert isinstance(found, DiffusionPolicy)
    assert found.config.predicts == "noise"


def test_a_run_of_an_older_layout_goes_on_as_it_would_have(tmp_path: Path) -> None:
    episodes, made = demonstrations(), recipe(updates=8, relative=True)
    results = []
    for before in (False, True):
        run = tmp_path / str(before)
        train_policy(episodes, made, "legato", LegatoObjective(3, 3), run=run, console=QUIET)
        if before:
            for stage in (run / "first-stage", run / "legato"):
                as_written_before((stage / "last").resolve(), "segue/policy/1")
            (run / "legato" / "last").unlink()
            (run / "legato" / "last").symlink_to("000002")
            as_written_before(run / "legato" / "000002", "segue/policy/1")
        results.append(train_policy(episodes, made, "legato", LegatoObjective(3, 3), run=run, console=QUIET))
    assert same(*results)


def test_latent_policies_of_the_older_layout_are_read(tmp_path: Path) -> None:
    episodes = demonstrations()
    codec = ChunkAutoencoder.for_episodes(AutoencoderConfig(8, episodes.action_names, 2), episodes)
    made = policy_for(config_for("flow", episodes, horizon=8, autoencoder=codec), episodes, codec)
    folder = checkpoint.save(tmp_path, 5, made, {}, RESUME)
    as_written_before(folder, "segue/policy/1")
    names = load_file(folder / "policy.safetensors")
    assert {"policy.observation.mean", "policy.action.mean", "autoencoder.action.mean"} <= names.keys()
    assert same(checkpoint.load(tmp_path).policy(), made)


@pytest.mark.parametrize("content", ['{"format": "lerobot/act"}', "{}", "[1, 2]", "null"])
def test_a_foreign_config_is_refused(tmp_path: Path, content: str) -> None:
    (write(tmp_path) / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="segue/policy/2"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("gone", ["config.json", "policy.safetensors", "resume.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, gone: str) -> None:
    (write(tmp_path) / gone).unlink()
    with pytest.raises(CheckpointError, match=gone.replace(".", r"\.")):
        checkpoint.load_resume(checkpoint.load(tmp_path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="segue train --out"):
        checkpoint.load(tmp_path / "nowhere")


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["policy"] |= changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"horizon": 9}, "size mismatch"),
        ({"action_names": ["one"], "relative_to": [None]}, "action.mean"),
        ({"observation_names": ["one"]}, "observation.mean"),
        ({"network": "perceptron"}, "perceptron"),
        ({"network_settings": {"breadth": 3}}, "breadth"),
        ({"predicts": "noise"}, "noise"),
        ({"colour": "blue"}, "colour"),
        ({"relative_to": None}, "NoneType"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    edit(write(tmp_path), **changes)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(tmp_path).policy()


def test_checkpoints_of_before_there_were_hashes_are_read(tmp_path: Path) -> None:
    trust(write(tmp_path))
    found = checkpoint.load(tmp_path)
    assert same(found.policy(), policy())
    assert torch.equal(checkpoint.load_resume(found)["raw.weight"], RESUME["raw.weight"])


def test_an_extra_tensor_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    tensors = load_file(folder / "policy.safetensors") | {"backdoor": torch.ones(3)}
    save_file(tensors, folder / "policy.safetensors")
    trust(folder)
    with pytest.raises(CheckpointError, match="backdoor"):
        checkpoint.load(folder).policy()


def test_a_missing_section_or_tensor_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    tensors = load_file(folder / "policy.safetensors")
    del tensors["units.observation.mean"]
    save_file(tensors, folder / "policy.safetensors")
    trust(folder)
    with pytest.raises(CheckpointError, match=r"units\.observation\.mean"):
        checkpoint.load(folder).policy()
    config = json.loads((folder / "config.json").read_text())
    del config["policy"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="policy"):
        checkpoint.load(folder).policy()


class KilledError(BaseException):
    """The process ends here."""


STEPS = ["mkdtemp", "save_file", "write_text", "fsync", "chmod", "rename", "replace", "symlink_to", "rmtree"]


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("again", [False, True])
def test_last_is_whole_whenever_the_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int, again: bool
) -> None:
    """Killed before the n-th call of each file operation, for a new update and for one that is written again."""
    write(tmp_path, 5, seed=0)
    owner = OWNERS.get(step, Path)
    original, left = getattr(owner, step), [call]

    def dies(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise KilledError
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dies)
        try:
            write(tmp_path, 5 if again else 10, seed=1)
            died = False
        except KilledError:
            died = True
    assert died or left[0] >= 0
    found = checkpoint.load(tmp_path).policy()
    assert same(found, policy(seed=0)) or (same(found, policy(seed=1)))
    assert died or same(found, policy(seed=1))
    write(tmp_path, 5 if again else 10, seed=2)
    assert same(checkpoint.load(tmp_path).policy(), policy(seed=2))
    expected = ["000005", "last"] if again else ["000005", "000010", "last"]
    assert sorted(path.name for path in tmp_path.iterdir()) == expected


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 5)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000005", "last"]


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    folder = write(tmp_path)
    torch.save({"weight": torch.ones(2)}, folder / "policy.safetensors")
    with pytest.raises(CheckpointError):
        checkpoint.load(folder)
