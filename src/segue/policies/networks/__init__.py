"""Networks of the policies: four ways to the same function of flow state, time, weights and context."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

from torch import Tensor

from segue.errors import SpecError, UnknownNameError
from segue.policies.networks.features import Sizes, count_parameters
from segue.policies.networks.mixer import Mixer, MixerConfig
from segue.policies.networks.mlp import MLP, MLPConfig
from segue.policies.networks.transformer import Transformer, TransformerConfig
from segue.policies.networks.unet import UNet, UNetConfig

__all__ = ["NETWORKS", "Network", "NetworkConfig", "Sizes", "build_network", "count_parameters", "network_config"]


class Network(Protocol):
    """What a policy asks of a network.

    The weights enter in two ways: through the flow time of each position, ``tau = t + w (1 - t)``, and by themselves
    through a projection without bias, ``weights_input``, that starts at zero. So with w = 0 a network is exactly the
    plain flow-matching network, and a plain checkpoint can go on to train with schedules.
    """

    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        """What the policy has it estimate: velocity, action, noise. Shape (batch, horizon, output).

        Args:
            x: Flow state, normalised, shape (batch, horizon, action).
            t: Flow time, 0 noise, 1 action, shape (batch,).
            w: Weights per position, 1 committed, 0 free, shape (batch, horizon).
            context: Encoded observation, shape (batch, context).

        Raises:
            SpecError: The shapes are not those that the network was built for.
        """
        ...


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
) -> MLP | Mixer | UNet | Transformer:
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
