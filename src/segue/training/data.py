"""Demonstrations on the training device, and batches of them."""

from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from segue.core.observation import seen
from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.policies.encoders.kept import seen_by
from segue.policies.observation import on_device
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import CommandedState
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated


class DemonstratedChunks:
    """All windows of the demonstrations in policy units, and the policy's own chunks at the same observations.

    States and actions are kept on the policy's device, for they are small; pictures stay where they are, and are
    gathered for each batch. What a frozen encoder says of them takes their place.
    """

    def __init__(self, episodes: Episodes, policy: Policy, console: Console | None = None) -> None:
        self._pictures = seen_by(policy.units, episodes.pictures, console)
        windows, device = Windows(episodes, policy.spec.horizon), policy.units.device
        self.stride = policy.units.stride
        self.observation, self.action = (
            torch.as_tensor(each, device=device) for each in (episodes.observation, episodes.action)
        )
        self.horizon = windows.horizon
        self.chunks = _in_policy_units(windows, self.observation, policy)
        # A position of several control steps counts if all of them were demonstrated.
        self.valid = torch.as_tensor(windows.valid, device=device).unflatten(1, (-1, self.stride)).all(2)
        self.age, self.left = (torch.as_tensor(each, device=device) for each in (windows.age, windows.remaining))
        self.own: Tensor | None = None
        """Shape (candidates, frames, horizon, action), robot units."""

    def __len__(self) -> int:
        return len(self.observation)

    def seen(self, index: Tensor) -> Any:
        """Gather the observations of some frames."""
        state, frames = self.observation[index], index.cpu().numpy()
        pictures = {name: each[frames] for name, each in self._pictures.items()}
        return on_device(seen(state, pictures), state.device)

    def renew_own(self, policy: Policy, steps: int, generator: torch.Generator, candidates: int = 1) -> None:
        """Sample so many chunks of the policy at every observation."""
        self.own = torch.stack([self._sampled(policy, steps, generator) for _ in range(candidates)])

    @torch.no_grad()
    def _sampled(self, policy: Policy, steps: int, generator: torch.Generator, batch: int = 1024) -> Tensor:
        """Sample one chunk of the policy at every observation. Shape (frames, horizon, action), robot units."""
        chunks = []
        for index in torch.arange(len(self)).split(batch):
            observation, shape = self.seen(index), (len(index), *policy.units.chunk_shape)
            noise = torch.randn(shape, generator=generator).to(self.observation.device)
            prefix = nothing_known(noise, policy.units.stride)
            chunk = policy.continue_chunk(Naive(), observation, prefix, noise, steps)
            chunks.append(policy.units.to_robot(chunk, observation))
        return torch.cat(chunks)

    @torch.no_grad()
    def offset(self, index: Tensor, offset: Tensor, policy: Policy) -> tuple[Demonstrated, Tensor]:
        """Gather windows that begin some steps after a frame, and the state that is commanded by then.

        The last action before a window commands the state (arXiv 2512.01031); with offset 0 it is as it was seen. A
        window that begins behind the end of its episode counts nowhere.

        Args:
            index: Frames that are seen, shape (batch,).
            offset: Shape (batch,), integer [steps].
            policy: Its actions are targets relative to states, which says what they command.

        Raises:
            SpecError: They are absolute.
        """
        steps = offset[:, None] + torch.arange(self.horizon, device=index.device)
        committed = torch.arange(max(int(offset.max()), 1), device=index.device).expand(len(index), -1)
        done, actions = (
            self.action[index[:, None] + torch.minimum(each, self.left[index][:, None])] for each in (committed, steps)
        )
        observed, executed, count = (each.cpu().numpy() for each in (self.observation[index], done, offset))
        state = torch.as_tensor(CommandedState.of(policy).ahead(observed, executed, count), device=index.device)
        valid = (steps <= self.left[index][:, None]).unflatten(1, (-1, self.stride)).all(2)
        chunks = policy.units.to_policy(actions, state)
        return Demonstrated(chunks, valid, chunks, torch.zeros_like(index), self.stride), state

    @torch.no_grad()
    def batch(
        self, index: Tensor, policy: Policy, elapsed: tuple[int, int], generator: torch.Generator
    ) -> Demonstrated:
        """Gather windows in policy units. An own chunk is ``elapsed`` steps old, fewer near the start of an episode.

        One that is as old as the horizon or older says nothing about these positions and is not used. Of several
        candidates, the one is taken that is nearest to what was demonstrated, see `nearest`.
        """
        chunks, valid = self.chunks[index], self.valid[index]
        if self.own is None:
            return Demonstrated(chunks, valid, chunks, torch.zeros_like(index), self.stride)
        low, high = elapsed
        steps = torch.randint(low, high + 1, (len(index),), generator=generator).to(index.device)
        steps = torch.minimum(steps, self.age[index])
        carried, known = carried_on(self.own[:, index - steps], steps)
        candidates = [policy.units.to_policy(own, self.observation[index]) for own in carried]
        position = torch.arange(valid.shape[1], device=valid.device) * self.stride
        counted = valid & (position < known[:, None])
        return Demonstrated(chunks, valid, nearest(torch.stack(candidates), chunks, counted), known, self.stride)


def nearest(candidates: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Choose of several chunks the one with the smallest squared distance to the wanted chunk, for each of a batch.

    A random one of the policy's own chunks often follows another plan than the demonstration, and teaches to ignore the
    reference; the demonstration itself has none of the policy's errors, and teaches to copy it. The nearest of several
    own chunks has the plan of the demonstration and the errors of the policy.

    Args:
        candidates: Shape (candidates, batch, positions, dimension).
        wanted: Shape (batch, positions, dimension).
        counted: Shape (batch, positions): positions that count.

    Returns:
        Shape (batch, positions, dimension).
    """
    distance = ((candidates - wanted).square().sum(-1) * counted).sum(-1)
    chosen = distance.argmin(0)
    return candidates[chosen, torch.arange(len(wanted), device=wanted.device)]


def carried_on(own: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Shift chunks of some steps ago to the positions of now, the last action held, and count those that they know.

    Args:
        own: Shape (..., batch, horizon, action), robot units.
        steps: Shape (batch,), how old each is; 0 for none.
    """
    horizon = own.shape[-2]
    position = (torch.arange(horizon, device=own.device) + steps[:, None]).clamp(max=horizon - 1)
    known = torch.where(steps > 0, (horizon - steps).clamp(min=0), 0)
    return own.gather(-2, position[..., None].expand(own.shape)), known


@torch.no_grad()
def _in_policy_units(windows: Windows, observation: Tensor, policy: Policy, batch: int = 4096) -> Tensor:
    """Shape (frames, positions, dimension)."""
    action = torch.as_tensor(windows.episodes.action, device=observation.device)
    frames = torch.as_tensor(windows.frames, device=observation.device)
    parts = zip(frames.split(batch), observation.split(batch), strict=True)
    return torch.cat([policy.units.to_policy(action[frame], seen) for frame, seen in parts])
