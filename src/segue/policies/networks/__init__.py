"""Networks of the policies: four ways to the same function of flow state, time, weights and context."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from segue.errors import SpecError, UnknownNameError
from segue.policies.networks.features import Network, Sizes, count_parameters
from segue.policies.networks.mixer import MixerConfig
from segue.policies.networks.mlp import MLPConfig
from segue.policies.networks.transformer import TransformerConfig
from segue.policies.networks.unet import UNetConfig

__all__ = ["NETWORKS", "Network", "NetworkConfig", "Sizes", "build_network", "count_parameters", "network_config"]


NetworkConfig = MLPConfig | MixerConfig | UNetConfig | TransformerConfig
NETWORKS: dict[str, type[NetworkConfig]] = {
    "mlp": MLPConfig,
    "mixer": MixerConfig,
    "unet": UNetConfig,
    "transformer": TransformerConfig,
}


def network_config(name: str, settings: Mapping[str, Any] | None = None) -> NetworkConfig:
    """Settings of a network from its name and a plain dict, the inverse of `dataclasses.asdict`.

    Args:
        name: Key of `NETWORKS`.
        settings: Fields that differ from the defaults.

    Raises:
        UnknownNameError: No network has this name.
        SpecError: A setting is unknown, or is not a positive integer.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    settings = settings or {}
    known = [field.name for field in fields(NETWORKS[name])]
    for key, value in settings.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise SpecError(
                got=f"setting {key!r} of network {name!r}",
                expected="one of " + ", ".join(known),
                change=f"did you mean {close[0]!r}?" if close else "leave it out",
            )
        if type(value) is not int or value < 1:
            raise SpecError(
                got=f"{key} = {value!r} for network {name!r}",
                expected="an integer of at least 1",
                change=f"set {key} to a positive integer, or leave it out for the default",
            )
    return NETWORKS[name](**settings)


def build_network(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    horizon: int,
    action: int,
    context: int,
    output: int | None = None,
) -> Network:
    """Network with fresh parameters, drawn from torch's global generator (seed it first to repeat them).

    Args:
        name: Key of `NETWORKS`.
        settings: Fields that differ from the defaults.
        horizon: Positions of a chunk.
        action: Numbers per position that go in.
        context: Numbers that an observation is encoded to.
        output: Numbers per position that come out; as many as go in by default.

    Raises:
        UnknownNameError: No network has this name.
        SpecError: Settings and sizes do not make a network.
    """
    return network_config(name, settings).build(Sizes(horizon, action, context, action if output is None else output))
