"""LiPo (arXiv 2506.05165) as a strategy: its package smooths finished chunks with a quadratic program.

segue bench push-t --methods naive,segue.integrations.lipo:LiPo --delays 4        # pip install '.[lipo]' in a clone

The old chunk fades linearly into the new one over the blending horizon; of all chunks near to that, the one with the
least jerk is taken. As a method it works in policy units, where a distance is in spreads of the actions; under
`FinishedPolicy`, in robot units.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from segue.errors import MissingExtraError, SpecError
from segue.strategies.hooks import Hooks, Prefix, Strategy, no_weights

_BEFORE = 3
"""Actions before a chunk that the package looks at."""


@cache
def _solver(**settings: Any) -> Any:
    try:
        from action_lipo import ActionLiPo  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError("action_lipo", "lipo", "LiPo") from error
    return ActionLiPo(dt=1.0, **settings)  # a period scales all of what is minimised, and changes nothing


@dataclass(frozen=True)
class LiPo(Strategy):
    """Smooths what follows the committed actions, which are kept; a first chunk is left as it is.

    Attributes:
        blending: Positions over which the old chunk fades into the new one, the committed ones among them; at least
            two more than these, and no more than the old chunk knows.
        near_blend: Farthest that a blended position is moved.
        near_path: Farthest that one after these is moved.

    Raises:
        SpecError: Of `hooks`: the chunk is a latent one.
        MissingExtraError: Of the chunk: the package is not installed.
    """

    blending: int = 10
    near_blend: float = 0.02
    near_path: float = 0.003

    @override
    def hooks(self, prefix: Prefix) -> Hooks:
        if prefix.stride != 1:
            raise SpecError(
                "a latent chunk for LiPo", "actions", "finish the decoded chunk: FinishedPolicy(policy, LiPo())"
            )

        def finish(new: Tensor) -> Tensor:
            old = prefix.kinds.near(prefix.reference, new)
            rows = zip(old, new, prefix.known.tolist(), prefix.committed.tolist(), strict=True)
            smooth = torch.stack([self._smoothed(*row) for row in rows])
            return prefix.kinds.proper(prefix.kinds.stepped(smooth, new))

        return Hooks(no_weights(prefix), finish=finish)

    def _smoothed(self, old: Tensor, new: Tensor, known: int, delay: int) -> Tensor:
        """One chunk, shape (horizon, action); as it is where there is nothing to blend, or no solution."""
        blending = min(known, max(self.blending, delay + 2))
        if blending < delay + 2:
            return new
        past = old[:blending].double().cpu().numpy()
        # What came before is not told: it is taken to have moved on evenly. From two committed actions on it plays no
        # part, for it meets nothing that may be moved.
        before = past[0] - np.arange(_BEFORE, 0, -1)[:, None] * (past[1] - past[0])
        solver = _solver(
            chunk_size=len(new), blending_horizon=blending, action_dim=new.shape[1], len_time_delay=delay,
            epsilon_blending=self.near_blend, epsilon_path=self.near_path,
        )  # fmt: skip
        found, _ = solver.solve(new.double().cpu().numpy(), np.concatenate([before, past]), blending)
        solver.reset_log()
        return new if found is None else torch.as_tensor(found, dtype=new.dtype, device=new.device)
