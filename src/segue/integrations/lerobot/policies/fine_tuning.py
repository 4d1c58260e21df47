"""Teaching a pretrained flow policy of LeRobot to continue: Legato, or training-time RTC, on its own data set.

    batch of a LeRobotDataset -- preprocess --> observation, actions --> objective: pair --> loss at weights w

The first update starts from the pretrained function: at w = 0 the conditioned network is the pretrained one. With an
offset, states are ahead of pictures (`offsets`), as they are at run time under a predictor of the state.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segue.errors import DataError, SpecError
from segue.integrations.lerobot.policies.flow import LeRobotFlowPolicy
from segue.integrations.lerobot.policies.offsets import ahead_of_pictures
from segue.integrations.lerobot.policies.units import Batch
from segue.policies.predictors.predictor import CommandedState
from segue.strategies.objective import Demonstrated, Objective
from segue.training.config import Schedule
from segue.training.fit import Descent
from segue.training.resume import learned

ACTION, IS_PAD = "action", "action_is_pad"


@dataclass(frozen=True, kw_only=True)
class FineTuning(Schedule):
    """How long and how; the numbers are those that LeRobot fine-tunes pi0.5 with.

    Attributes:
        clip: Largest norm of the gradient.
        offset: Largest number of steps by which states are ahead of pictures; 0 for none. Wants batches that reach as
            far, see `offsets.delta_timestamps`.
    """

    updates: int = 3000
    learning_rate: float = 2.5e-5
    weight_decay: float = 0.01
    clip: float = 1.0
    offset: int = 0


def openpi_time(count: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Flow times as openpi and LeRobot draw them, more of them near the noise: theirs is 0.001 + 0.999 Beta(1.5, 1).

    Shape (count,), our time. Beta(a, 1) has the distribution function ``x^a``, so that ``u^(1/a)`` samples it.
    """
    return 0.999 * (1 - torch.rand(count, generator=generator, dtype=dtype) ** (1 / 1.5))


def demonstrated(policy: LeRobotFlowPolicy, batch: Batch) -> tuple[Demonstrated, Batch]:
    """Chunks in policy units, and what the network sees.

    Args:
        policy: Whose processors are used.
        batch: Of a LeRobotDataset, not yet preprocessed: observations, ``task``, ``action`` (batch, horizon, action),
            and ``action_is_pad`` (batch, horizon) where chunks reach beyond the end of their episode.

    Raises:
        DataError: Chunks of another shape.
    """
    seen = policy.units.preprocess(dict(batch))
    actions = seen.pop(ACTION).to(policy.units.device)
    expected = policy.spec.chunk_shape
    if actions.ndim != 3 or actions.shape[1:] != expected:
        raise DataError(
            got=f"actions of shape {tuple(actions.shape)}",
            expected=f"(batch, {expected[0]}, {expected[1]})",
            change=f"open the data set with delta_timestamps for {expected[0]} actions from the present one on",
        )
    pad = seen.pop(IS_PAD, batch.get(IS_PAD))
    valid = torch.ones(actions.shape[:2], dtype=torch.bool) if pad is None else ~torch.as_tensor(pad)
    actions = nn.functional.pad(actions, (0, policy.units.chunk_shape[1] - actions.shape[2]))
    nothing = torch.zeros(len(actions), dtype=torch.int64, device=actions.device)
    chunks = Demonstrated(actions, valid.to(actions.device), actions, nothing, flow_time=openpi_time)
    return chunks, seen


def fine_tune(
    policy: LeRobotFlowPolicy,
    batches: Iterable[Batch],
    objective: Objective,
    config: FineTuning,
    *,
    show: Callable[[int, float], None] | None = None,
    commanded: CommandedState | None = None,
) -> None:
    """Train a policy in place, until the updates or the batches are used up.

    Only weights that require a gradient are trained: which these are, LeRobot's configuration says (by default the
    action expert of SmolVLA, and all of pi0 and pi0.5).

    Args:
        policy: With the conditioning that the objective needs.
        batches: For example a DataLoader of a LeRobotDataset, repeated.
        objective: `LegatoObjective(own_share=0)`, `TrainingTimeRTCObjective` or `FlowMatching`.
        config: Length and settings.
        show: Called with the update and its loss.
        commanded: With an offset: the predictor that will run, so that training sees what it makes of the state; None
            for recorded states.

    Raises:
        SpecError: An objective that needs the policy's own earlier chunks, which these batches do not have.
        DataError: Chunks of another shape than the policy's, or batches that do not reach as far as the offset.
        TrainingError: The loss is not finite.
    """
    if objective.own_chunks:
        raise SpecError(
            got=f"an objective that wants {objective.own_chunks} of the policy's own chunks",
            expected="references that are demonstrated, which a shuffled batch has",
            change="set own_share=0, which is Legato as published",
        )
    policy.train()
    generator = torch.Generator().manual_seed(config.seed)
    descent = Descent(policy, learned(policy).values(), LeRobotFlowPolicy.loss, config, clip=config.clip)
    for update, batch in zip(range(config.updates), batches, strict=False):
        if config.offset:
            batch = ahead_of_pictures(batch, policy.spec.horizon, config.offset, generator, commanded)
        chunks, seen = demonstrated(policy, batch)
        loss = descent.step(update, objective.pair(chunks, generator), seen)
        if show is not None:
            show(update, loss)
    policy.eval()
