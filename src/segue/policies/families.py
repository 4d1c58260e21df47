"""The families of policies by name, and policies of any of them, in action space or in latent space.

config_for(family, episodes, autoencoder) -> configuration -- policy_for(...) --> fitted to demonstrations
                                             configuration -- blank(...) ------> weights still to be loaded
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from segue.core.chunk import Array
from segue.core.dimensions import LINEAR
from segue.core.spec import PolicySpec
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.errors import SpecError, UnknownNameError, settings_of
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder, Codec
from segue.policies.config import FamilyConfig, Vision
from segue.policies.diffusion import Denoising, DiffusionPolicy, DiffusionPolicyConfig
from segue.policies.flow import FlowPolicy, FlowPolicyConfig
from segue.policies.latent import LatentPolicy, latent_names
from segue.policies.networks.adapted import Adapted
from segue.policies.normalizer import Normalizer
from segue.policies.policy import Policy
from segue.policies.processor import NormalizedUnits, demonstrated_chunks, described
from segue.policies.regression import Regression, RegressionPolicy, RegressionPolicyConfig
from segue.strategies.objective import Objective


@dataclass(frozen=True)
class Family:
    """A configuration and the policy that it makes.

    Attributes:
        config: Configuration.
        policy: Policy.
    """

    config: type[FamilyConfig]
    policy: Any  # a class of policies that takes this configuration: the relation is not one that types can say


FAMILIES = {
    "flow": Family(FlowPolicyConfig, FlowPolicy),
    "diffusion": Family(DiffusionPolicyConfig, DiffusionPolicy),
    "regression": Family(RegressionPolicyConfig, RegressionPolicy),
}


def _family(name: str) -> Family:
    if name not in FAMILIES:
        raise UnknownNameError("family", name, FAMILIES)
    return FAMILIES[name]


def family_of(objective: Objective) -> str:
    """Name the family that an objective trains."""
    match objective:
        case Denoising():
            return "diffusion"
        case Regression():
            return "regression"
        case _:
            return "flow"


def config_for(
    family: str,
    episodes: Episodes,
    *,
    horizon: int,
    relative: bool = False,
    autoencoder: Codec | None = None,
    vision: Mapping[str, Any] | None = None,
    **settings: Any,
) -> FamilyConfig:
    """Configuration of a family that fits demonstrations.

    Args:
        family: Key of `FAMILIES`.
        episodes: Demonstrations; they name the observation that each action can be relative to.
        horizon: H [control steps].
        relative: Learn actions relative to the observed state, where the demonstrations name one.
        autoencoder: The policy is to live in its latent space; None for action space.
        vision: Fields of `Vision` that differ from the defaults, for demonstrations with pictures.
        **settings: Further fields of the family's configuration.

    Raises:
        UnknownNameError: There is no such family.
        SpecError: The autoencoder does not fit, or the family has no such setting.
    """
    fields = described(episodes, horizon=horizon, relative=relative, vision=vision)
    if autoencoder is not None:
        _check_autoencoder(autoencoder, episodes, horizon, relative)
        names = latent_names(autoencoder.latent)
        positions = horizon // autoencoder.stride
        spec = replace(fields["spec"], horizon=positions, action_names=names, action_kinds=LINEAR)
        fields |= {"spec": spec, "relative_to": (None,) * len(names)}
    with settings_of(f"a {family} policy"):
        return _family(family).config(**fields, **settings)


def _check_autoencoder(autoencoder: Codec, episodes: Episodes, horizon: int, relative: bool) -> None:
    names = autoencoder.config.action_names
    if names != tuple(episodes.action_names):
        raise SpecError(
            got=f"an autoencoder of the actions {', '.join(names[:6])}",
            expected=f"those of the demonstrations, {', '.join(episodes.action_names[:6])}",
            change="train the autoencoder on these demonstrations",
        )
    if horizon % autoencoder.stride:
        raise SpecError(
            got=f"horizon {horizon} with {autoencoder.stride} control steps per latent position",
            expected=f"a multiple of {autoencoder.stride}",
            change=f"use a horizon of {(horizon // autoencoder.stride + 1) * autoencoder.stride}",
        )
    if relative:
        raise SpecError(
            got="actions relative to the observed state, in latent space",
            expected="absolute actions, which are what autoencoders encode",
            change="train with --no-relative, or without an autoencoder",
        )


def policy_for(config: FamilyConfig, episodes: Episodes, autoencoder: Codec | None = None) -> Policy:
    """Policy with fresh weights (from torch's global generator), statistics fitted to all windows.

    Args:
        config: As `config_for` gives it for these demonstrations and this autoencoder.
        episodes: Demonstrations.
        autoencoder: The policy lives in its latent space, and has the statistics of the latents.
    """
    if autoencoder is None:
        return _fitted(config, episodes, demonstrated_chunks(episodes, config.spec.horizon, config.relative_to))
    chunks = torch.as_tensor(Windows(episodes, config.spec.horizon * autoencoder.stride).actions)
    with torch.no_grad():
        latents = torch.cat([autoencoder.encode(part) for part in chunks.split(4096)]).numpy()
    return LatentPolicy(_fitted(config, episodes, latents), autoencoder)


def _fitted(config: FamilyConfig, episodes: Episodes, chunks: Array) -> Policy:
    """Policy in the space of these chunks, (frames, positions, dimension), anchored as the configuration says."""
    units = NormalizedUnits.fitted(config, episodes.observation, chunks)
    policy = _family(config.family).policy(config, units)
    policy.fit(units.action(torch.as_tensor(chunks)))
    return policy


def adapt(policy: Policy, rank: int) -> Policy:
    """Put fresh adapters (from torch's global generator) into the network of a flow policy, in place.

    Raises:
        SpecError: It is of another family, or has adapters.
    """
    below = policy.policy if isinstance(policy, LatentPolicy) else policy
    if not isinstance(below, FlowPolicy) or isinstance(below.network, Adapted):
        raise SpecError(
            got=f"{type(below).__name__} for adapters",
            expected="a flow policy without any",
            change="start from a plain policy: `segue train` with two stages",
        )
    below.network = Adapted(below.network, rank)
    return policy


def description(policy: Policy) -> dict[str, Any]:
    """Describe a policy for a checkpoint, beside its weights: family, configuration, autoencoder if there is one."""
    if isinstance(policy, LatentPolicy):
        return {**description(policy.policy), "autoencoder": asdict(policy.autoencoder.config)}
    assert isinstance(policy, FlowPolicy | DiffusionPolicy | RegressionPolicy)
    said = asdict(policy.config)
    del said["spec"]
    adapters = {"adapter": policy.network.rank} if isinstance(policy.network, Adapted) else {}
    return {"family": policy.config.family, "policy": {**policy.spec.said(), **said}, **adapters}


def blank(described: Mapping[str, Any]) -> Policy:
    """Build the policy of a `description` that went through JSON; weights and statistics are still to be loaded.

    Raises:
        UnknownNameError: There is no such family, network or head.
        SpecError: Settings do not fit together.
        KeyError: A section is missing.
        TypeError: A setting is missing, unknown or of another type.
    """
    kind, said = _family(described["family"]), described["policy"]
    spec = PolicySpec.of(said)
    fields = {name: value for name, value in said.items() if name not in spec.said()}
    fields["relative_to"] = tuple(fields["relative_to"])
    if fields["vision"] is not None:
        fields["vision"] = Vision(**fields["vision"])
    config = kind.config(spec, **fields)
    policy = kind.policy(config, NormalizedUnits.blank(config))
    if "adapter" in described:
        adapt(policy, described["adapter"])
    if "autoencoder" not in described:
        return policy
    fields = {**described["autoencoder"], "action_names": tuple(described["autoencoder"]["action_names"])}
    autoencoder = AutoencoderConfig(**fields)
    return LatentPolicy(policy, ChunkAutoencoder(autoencoder, Normalizer.identity(len(autoencoder.action_names))))
