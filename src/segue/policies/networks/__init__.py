"""Networks of the policies: four ways to the same function of flow state, time, weights and context."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from segue.errors import SpecError, UnknownNameError
from segue.policies.networks.features import Network, Sizes
from segue.policies.networks.mixer import Mixer, MixerConfig
from segue.policies.networks.mlp import MLP, MLPConfig
from segue.policies.networks.transformer import Transformer, TransformerConfig
from segue.policies.networks.unet import UNet, UNetConfig

__all__ = ["NETWORKS", "Network", "NetworkConfig", "Sizes", "build_network", "network_config"]


NetworkConfig = MLPConfig | MixerConfig | UNetConfig | TransformerConfig
NETWORKS: dict[str, tuple[type[NetworkConfig], Callable[[Any, Sizes], Network]]] = {
    "mlp": (MLPConfig, MLP),
    "mixer": (MixerConfig, Mixer),
    "unet": (UNetConfig, UNet),
    "transformer": (TransformerConfig, Transformer),
}
"""Settings and network by name."""


def network_config(name: str, settings: Mapping[str, Any] | None = None) -> NetworkConfig:
    """Read the settings of a network, as `build_network` takes them; the inverse of `dataclasses.asdict`."""
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    settings = settings or {}
    known = [field.name for field in fields(NETWORKS[name][0])]
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
    return NETWORKS[name][0](**settings)


def build_network(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    horizon: int,
    action: int,
    context: int,
    output: int | None = None,
) -> Network:
    """Build a network with fresh parameters, drawn from torch's global generator (seed it first to repeat them).

    Args:
        name: Key of `NETWORKS`.
        settings: Fields that differ from the defaults.
        horizon: Positions of a chunk.
        action: Numbers per position that go in.
        context: Numbers that an observation is encoded to.
        output: Numbers per position that come out; as many as go in by default.

    Raises:
        UnknownNameError: No network has this name.
        SpecError: A setting is unknown or not a positive integer, or settings and sizes do not make a network.
    """
    config, sizes = (
        network_config(name, settings),
        Sizes(horizon, action, context, action if output is None else output),
    )
    return NETWORKS[name][1](config, sizes)
