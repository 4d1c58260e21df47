r"""A network whose weights stay what they are, with small adapters that work where something is committed.

    layer   x ---- W x + b ----------------------+-- output
             \-- down x + told w -- up -- gate --/        gate 1 where a position of the chunk has a weight, else 0

Low-rank adapters (arXiv 2106.09685) that are told what is committed (arXiv 2601.20130). Where all weights are zero they
vanish: a first chunk is the plain network's, to the bit. The plain network has learned w = 0, and is told that.
"""

import torch
from torch import Tensor, nn
from typing_extensions import override

from segue.policies.networks.features import Network, zero_linear


class LowRank(nn.Module):
    """A linear layer with an adapter, zero at first; takes (batch, features) or (batch, any, features).

    Args:
        layer: Stays as it is.
        positions: Of a chunk.
        rank: Of what is added.

    Attributes:
        w: Weights that the adapter is told, shape (batch, positions); set before a pass.
    """

    w: Tensor

    def __init__(self, layer: nn.Linear, positions: int, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.told = nn.Linear(positions, rank, bias=False)
        self.up = zero_linear(rank, layer.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Answer as the layer, and where something is committed with what the adapter adds."""
        told, gate = self.told(self.w), (self.w > 0).any(1, keepdim=True).to(x.dtype)
        if x.ndim == 3:
            told, gate = told[:, None], gate[:, None]
        return self.layer(x) + gate * self.up(self.down(x) + told)


class Adapted(Network):
    """A network with an adapter at each of its linear layers but the one that weights enter by.

    Args:
        network: Is frozen, and changed in place.
        rank: Of the adapters.
    """

    def __init__(self, network: Network, rank: int) -> None:
        super().__init__()
        self.sizes, self.rank, self.network = network.sizes, rank, network.requires_grad_(False)
        self._adapters: list[str] = []
        for name, layer in list(network.named_modules()):
            if type(layer) is nn.Linear and name != "weights_input":
                adapter = LowRank(layer, network.sizes.horizon, rank).to(layer.weight.device)
                network.set_submodule(name, adapter)
                self._adapters.append(name)

    @override
    def forward(self, x: Tensor, t: Tensor, w: Tensor, context: Tensor) -> Tensor:
        self.sizes.check(x, t, w, context)
        for name in self._adapters:
            adapter = self.network.get_submodule(name)
            assert isinstance(adapter, LowRank)
            adapter.w = w
        return self.network(x, t, torch.zeros_like(w), context)
