"""LeRobot's batches as what our objectives are trained on.

    observation.state   (batch, seen, D)    frames e_1 > e_2 > ... > 0 steps ago, normalised
    observation.images  (batch, seen, ...)  the same frames, see `pictures`
    action              (batch, horizon, A) normalised, beyond the episode's end repeated and flagged

Self-conditioning needs the policy's own chunk of a few steps ago. A data set in memory has them all computed every few
hundred updates (`training.data`); here they are sampled for each batch, from the observation of then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from segue.core.observation import seen as with_pictures
from segue.errors import SpecError
from segue.integrations.lerobot.pictures import Camera, pictures_in
from segue.policies.policy import Policy
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.training.data import carried_on

ACTION, IS_PAD = "action", "_is_pad"


@dataclass(frozen=True, eq=False)
class Seen:
    """Observations of a batch, the last one of now.

    Attributes:
        frames: Shape (batch, seen, observation).
        valid: Shape (batch, seen): False where it would lie before the episode's first frame.
        pictures: By camera, shape (batch, seen, height, width, 3), bytes.
    """

    frames: Tensor
    valid: Tensor
    pictures: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def now(self) -> Any:
        """Vectors of shape (batch, observation); with cameras an `Observation` of vectors and pictures."""
        return self.at(slice(None), -1)

    def at(self, row: Any, frame: Any) -> Any:
        """The same of other frames, by their indices."""
        return with_pictures(self.frames[row, frame], {name: each[row, frame] for name, each in self.pictures.items()})


NO_CAMERAS: Mapping[str, Camera] = {}


def seen_in(batch: Mapping[str, Tensor], keys: Sequence[str], cameras: Mapping[str, Camera] = NO_CAMERAS) -> Seen:
    """The vectors of a batch, one after the other, and its pictures. A frame without a time axis is of now.

    Raises:
        SpecError: A vector or a picture is missing, or a picture has another size.
    """
    needed = [*keys, *cameras]
    missing = [key for key in needed if key not in batch]
    if missing:
        raise SpecError(
            got=f"a batch without {', '.join(missing)}",
            expected=f"{', '.join(needed)}, as in training",
            change="give the policy the observations that it was trained on (--rename_map renames them)",
        )
    frames = torch.cat([each if each.ndim == 3 else each[:, None] for each in (batch[key] for key in keys)], dim=-1)
    padded = batch.get(keys[0] + IS_PAD)
    valid = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    valid = valid if padded is None or padded.ndim != 2 else ~padded
    return Seen(frames.float(), valid, pictures_in(batch, cameras))


def demonstrated_in(batch: Mapping[str, Tensor], policy: Policy, seen: Seen) -> Demonstrated:
    """Demonstrated chunks in policy units, without own chunks."""
    actions = batch[ACTION].float()
    padded = batch.get(ACTION + IS_PAD)
    valid = torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device) if padded is None else ~padded
    chunks = policy.units.to_policy(actions, seen.now)
    valid = valid.unflatten(1, (-1, policy.units.stride)).all(2)
    return Demonstrated(chunks, valid, chunks, valid.new_zeros(len(valid), dtype=torch.int64), policy.units.stride)


@torch.no_grad()
def with_own(
    batch: Demonstrated,
    policy: Policy,
    seen: Seen,
    elapsed: Sequence[int],
    steps: int,
    generator: torch.Generator | None = None,
) -> Demonstrated:
    """The batch, with the policy's own chunk of some steps ago where the episode is that old.

    Args:
        batch: Without own chunks.
        policy: Whose chunks; its averaged weights are what runs.
        seen: Observations of ``elapsed`` steps ago and of now.
        elapsed: Steps that each observation but the last is old.
        steps: Solver steps.
        generator: Of noise and choice; torch's global one by default.
    """
    n, device = len(seen.frames), seen.frames.device
    chosen = torch.randint(len(elapsed), (n,), generator=generator).to(device)
    row = torch.arange(n, device=device)
    then = seen.at(row, chosen)
    noise = torch.randn((n, *policy.units.chunk_shape), generator=generator).to(device)
    chunk = policy.continue_chunk(Naive(), then, nothing_known(noise, policy.units.stride), noise, steps)
    age = torch.tensor(elapsed, device=device)[chosen]
    own, known = carried_on(policy.units.to_robot(chunk, then), age)
    known = torch.where(seen.valid[row, chosen], known, 0)
    return Demonstrated(batch.actions, batch.valid, policy.units.to_policy(own, seen.now), known, batch.stride)
