"""Checkpoints of LeRobot, loaded as policies of ours, and kept as checkpoints of theirs after fine-tuning.

    folder/config.json, model.safetensors, policy_pre/postprocessor*    theirs, as `lerobot-train` writes them
    folder/segue.json                                                   how the network is told the schedule
    folder/segue.safetensors                                            weights of an input channel, if it has one

LeRobot opens such a folder as before: what it loads is the policy at w = 0.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from segue.core import foreign
from segue.errors import CheckpointError, MissingExtraError, SpecError, UnknownNameError
from segue.integrations.lerobot.policies.chunks import CHUNKS, LeRobotChunkPolicy
from segue.integrations.lerobot.policies.conditioning import (
    CHANNEL,
    CONDITIONINGS,
    PROJECTION,
    Conditioning,
    ProjectionWithChannel,
)
from segue.integrations.lerobot.policies.fields import FLOW, Theirs
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.methods.methods import LATENT, Method
from segue.policies.chunk_policy import ServingPolicy
from segue.training.bounded import LARGEST_WEIGHTS

CONFIG, NOTE, WEIGHTS = "config.json", "segue.json", "segue.safetensors"


def load(
    folder: str | Path,
    *,
    dt: float,
    device: str = "cpu",
    conditioning: Conditioning | None = None,
    observation_names: tuple[str, ...] | None = None,
    action_names: tuple[str, ...] | None = None,
    cameras: Mapping[str, str] | None = None,
) -> LeRobotFlowPolicy | LeRobotChunkPolicy:
    """A checkpoint of LeRobot as a policy of ours.

    Args:
        folder: A ``pretrained_model`` folder of LeRobot.
        dt: Control period [s]: one over the fps of its data set.
        device: Where it is to run.
        conditioning: How a flow policy is to be told the schedule; what the folder notes if None.
        observation_names: One per number of the state.
        action_names: One per action dimension.
        cameras: Their names of pictures by ours, where ours are not what follows ``observation.images.``.

    Raises:
        MissingExtraError: LeRobot is not installed.
        UnknownNameError: A policy that is not known here.
        CheckpointError: Not a checkpoint, or one that LeRobot did not load whole.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(
            got=f"{folder} without {CONFIG}",
            expected="a pretrained_model folder of LeRobot",
            change="give checkpoints/<step>/pretrained_model of a training, or download a policy first (hf download)",
        )
    _check_files(folder)
    theirs, preprocess, postprocess = _theirs(folder, device)
    words: dict[str, Any] = {
        "dt": dt, "observation_names": observation_names, "action_names": action_names, "cameras": cameras,
    }  # fmt: skip
    if theirs.config.type in CHUNKS:
        return LeRobotChunkPolicy(theirs, preprocess, postprocess, **words).to(torch.device(device))
    noted = _noted(folder)
    policy = LeRobotFlowPolicy(theirs, preprocess, postprocess, conditioning=conditioning or noted, **words)
    projection = getattr(theirs.model, PROJECTION)
    if isinstance(noted, type(policy.conditioning)) and isinstance(projection, ProjectionWithChannel):
        _load_channel(projection, folder / WEIGHTS)
    return policy.to(torch.device(device))


def continuing(folder: str | Path, method: Method, *, seed: int = 0, **words: Any) -> ServingPolicy:
    """A checkpoint of LeRobot under a method, as a policy that can be served.

    Args:
        folder: As `load`.
        method: What it is continued by; the parts of it that are trained besides are not there.
        seed: Of the noise.
        words: As `load`.

    Raises:
        SpecError: The method needs a predictor, an autoencoder, or a training that the checkpoint does not say it had.
        SegueError: As `load`.
    """
    check_method(folder, method)
    return method.bound(load(folder, **words), seed=seed)


def check_method(folder: str | Path, method: Method) -> None:
    """Refuse a method that wants what a checkpoint of LeRobot does not have.

    Raises:
        SpecError: The method needs a predictor, an autoencoder, or a training that the checkpoint does not say it had.
    """
    if method.predictor != "none" or method.refinement is not None or method.policy.startswith(LATENT):
        raise SpecError(
            got=f"method {method.name!r} on a checkpoint of LeRobot",
            expected="one without a predictor and without an autoencoder, which were trained on nothing of this policy",
            change="take rtc, rtc-identity, cross-fade, ensembling or naive",
        )
    if method.policy != "plain" and not (Path(folder) / NOTE).exists():
        raise SpecError(
            got=f"method {method.name!r} on a checkpoint that was not trained to continue",
            expected=f"one that was fine-tuned for it and has a {NOTE}",
            change="take rtc, or fine-tune it first (docs/policies-of-others.md)",
        )


def save(policy: LeRobotFlowPolicy, folder: str | Path) -> None:
    """Write a fine-tuned policy as a checkpoint of LeRobot, with what is ours beside it.

    All files are written aside first. They replace those of a policy that was there; further ones are let be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
        _write(policy, Path(aside))
        (folder / WEIGHTS).unlink(missing_ok=True)
        # Last what makes a folder a checkpoint.
        for file in sorted(Path(aside).iterdir(), key=lambda each: each.name == CONFIG):
            file.replace(folder / file.name)


def _write(policy: LeRobotFlowPolicy, folder: Path) -> None:
    theirs = policy.theirs
    projection = getattr(theirs.model, PROJECTION)
    if isinstance(projection, ProjectionWithChannel):
        save_file({CHANNEL: projection.channel.detach().cpu().contiguous()}, folder / WEIGHTS)
        setattr(theirs.model, PROJECTION, _without_channel(projection))
    try:
        theirs.save_pretrained(folder)
    finally:
        setattr(theirs.model, PROJECTION, projection)
    for processor in (policy.units.preprocess, policy.units.postprocess):
        if hasattr(processor, "save_pretrained"):
            processor.save_pretrained(folder)  # type: ignore[union-attr]
    name = next(name for name, each in CONDITIONINGS.items() if isinstance(policy.conditioning, type(each)))
    (folder / NOTE).write_text(json.dumps({"conditioning": name}) + "\n")


def _load_channel(projection: ProjectionWithChannel, file: Path) -> None:
    try:
        channel = load_file(file)[CHANNEL]
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{file}: {error}", "weights of the input channel", "copy the folder whole") from error
    with torch.no_grad():
        projection.channel.copy_(channel)


def _without_channel(projection: ProjectionWithChannel) -> nn.Linear:
    plain = nn.Linear(projection.in_features, projection.out_features, bias=projection.bias is not None, device="meta")
    plain.weight, plain.bias = projection.weight, projection.bias
    return plain


def _noted(folder: Path) -> Conditioning | None:
    """What a folder says about how its network is told the schedule."""
    if not (folder / NOTE).exists():
        return None
    noted = foreign.read_json(folder / NOTE, CheckpointError)
    if not isinstance(noted, dict) or "conditioning" not in noted:
        raise CheckpointError(f"{folder / NOTE} that cannot be read", '{"conditioning": name}', "save the policy again")
    name = str(noted["conditioning"])
    if name not in CONDITIONINGS:
        raise UnknownNameError("conditioning", name, CONDITIONINGS)
    return CONDITIONINGS[name]


def _check_files(folder: Path) -> None:
    """Raise `CheckpointError` for files that LeRobot would read without a bound."""
    for file in sorted(folder.iterdir()):
        if file.suffix == ".json":
            foreign.read_json(file, CheckpointError)
        elif file.suffix == ".safetensors":
            foreign.regular(file, CheckpointError, LARGEST_WEIGHTS)


def _theirs(folder: Path, device: str) -> tuple[Theirs, Any, Any]:
    """Policy, preprocessor and postprocessor as LeRobot loads them."""
    try:
        configs, factory = import_module("lerobot.configs"), import_module("lerobot.policies.factory")
    except ImportError as error:
        raise MissingExtraError("lerobot", "lerobot", "a policy of LeRobot") from error
    config = configs.PreTrainedConfig.from_pretrained(folder)
    config.device = device
    if config.type not in {**FLOW, **CHUNKS}:
        raise UnknownNameError("policy of LeRobot", str(config.type), {**FLOW, **CHUNKS})
    theirs = factory.get_policy_class(config.type).from_pretrained(folder, config=config)
    _check_loaded(theirs, folder / "model.safetensors")
    preprocess, postprocess = factory.make_pre_post_processors(
        config, pretrained_path=str(folder), preprocessor_overrides={"device_processor": {"device": device}}
    )
    return theirs.eval(), preprocess, postprocess


def _check_loaded(theirs: Theirs, file: Path) -> None:
    """Compare the weights with the file's: LeRobot prints a line and goes on with random ones where loading fails.

    Tensors of the file that the policy has no place for are let be: older versions kept statistics there.

    Raises:
        CheckpointError: A tensor is another one in the policy, or a parameter of the policy is in no tensor.
    """
    held, loaded = theirs.state_dict(), set[int]()
    try:
        with safe_open(file, "pt") as saved:
            names = list(saved.keys())
            for name in names:
                weight = held.get(name, held.get(f"model.{name}"))
                if weight is None:
                    continue
                if not _same(weight, saved.get_tensor(name)):
                    raise _not_loaded(f"{name} of {file} was not loaded")
                loaded.add(weight.data_ptr())  # the same for weights that are tied, of which the file has one
            for name, weight in theirs.named_parameters():
                if weight.data_ptr() in loaded:
                    continue
                shaped = (each for each in names if saved.get_slice(each).get_shape() == list(weight.shape))
                if not any(_same(weight, saved.get_tensor(each)) for each in shaped):  # LeRobot renames and copies some
                    raise _not_loaded(f"{name} is in no tensor of {file}: it was left random")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: {error}", "weights", "copy the folder whole") from error


def _same(weight: Tensor, saved: Tensor) -> bool:
    return torch.equal(weight.detach().cpu(), saved.to(weight.dtype))


def _not_loaded(got: str) -> CheckpointError:
    return CheckpointError(
        got=got,
        expected="all weights of the policy from the checkpoint",
        change="read what LeRobot printed above; most often its version is not that of the checkpoint",
    )
