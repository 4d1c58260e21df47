"""Measures a policy on episodes that it does not learn from: its loss, and how far its actions are off.

held-out frames -- objective --> pair --> loss
                -- policy -----> chunk in robot units -- minus what was demonstrated --> error of each dimension
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.policies.policy import Policy
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.objective import Objective
from segue.training.curve import ERROR, HELD_OUT_LOSS
from segue.training.data import DemonstratedChunks

MOST_FRAMES = 256
"""Frames that are measured, evenly spaced over the held-out episodes."""


def column(name: str, measure: str) -> str:
    """Name the error of an action dimension with its unit, where the dimension says one."""
    return f"error of {name}" + (f" [{measure}]" if measure else "")


def measured(policy: Policy, episodes: Episodes, objective: Objective, seed: int) -> Callable[[], Mapping[str, float]]:
    """Give a function that measures a policy as it is by then, always on the same frames with the same noise.

    It answers the loss under the objective, without the policy's own chunks; the mean absolute error of each action
    dimension over the horizon in its own unit; and as ``error`` the mean of these errors over the spread of each
    dimension, with dimensions that do not move left out.

    Args:
        policy: To be measured.
        episodes: Held out.
        objective: That it is trained with.
        seed: Of noise and flow times.
    """
    chunks = DemonstratedChunks(episodes, policy)
    count = min(len(chunks), MOST_FRAMES)
    index = torch.linspace(0, len(chunks) - 1, count).round().long()
    windows, kinds = Windows(episodes, policy.spec.horizon), episodes.action_kinds
    wanted, valid = windows.actions[index.numpy()], windows.valid[index.numpy()]
    spread = episodes.action.std(0, dtype=np.float64)
    names = [
        column(name, kind.measure) for name, kind in zip(episodes.action_names, kinds.each(len(spread)), strict=True)
    ]

    @torch.no_grad()
    def measure() -> Mapping[str, float]:
        generator = torch.Generator().manual_seed(seed)
        there = index.to(policy.units.device)
        observation = chunks.seen(there)
        pair = objective.pair(chunks.batch(there, policy, (0, 0), generator), generator)
        loss = policy.loss(pair, policy.units.encode(observation))
        noise = torch.randn((count, *policy.units.chunk_shape), generator=generator).to(there.device)
        prefix = nothing_known(noise, policy.units.stride)
        chunk = policy.continue_chunk(Naive(), observation, prefix, noise, policy.denoising_steps)
        actions = policy.units.to_robot(chunk, observation).cpu().numpy()
        error = np.abs(kinds.difference(actions, wanted))[valid].mean(0, dtype=np.float64)
        moves = spread > 0
        relative = float((error[moves] / spread[moves]).mean()) if moves.any() else 0.0
        return {HELD_OUT_LOSS: loss.item(), ERROR: relative, **dict(zip(names, error.tolist(), strict=True))}

    return measure
