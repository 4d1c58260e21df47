"""Demonstrations on the training device, and batches of them."""

import torch
from torch import Tensor

from segue.data.episodes import Episodes
from segue.data.windows import Windows
from segue.policies.policy import Policy
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated


class DemonstratedChunks:
    """All windows of the demonstrations, and the policy's own chunks at the same observations.

    Everything is kept on the device: state demonstrations are small.
    """

    def __init__(self, episodes: Episodes, horizon: int, device: torch.device) -> None:
        windows = Windows(episodes, horizon)
        self.observation = torch.as_tensor(episodes.observation, device=device)
        self.action = torch.as_tensor(episodes.action, device=device)
        self.frames = torch.as_tensor(windows.frames, device=device)
        self.valid = torch.as_tensor(windows.valid, device=device)
        self.age = torch.as_tensor(windows.age, device=device)
        self.own: Tensor | None = None

    def __len__(self) -> int:
        return len(self.observation)

    @torch.no_grad()
    def renew_own(self, policy: Policy, steps: int, generator: torch.Generator, batch: int = 1024) -> None:
        """Sample the policy's chunk at every observation, kept in robot units."""
        chunks = []
        for observation in self.observation.split(batch):
            noise = torch.randn((len(observation), *policy.chunk_shape), generator=generator).to(observation.device)
            prefix = nothing_known(noise, policy.stride)
            chunk = policy.continue_chunk(Naive(), observation, prefix, noise, steps)
            chunks.append(policy.to_robot(chunk, observation))
        self.own = torch.cat(chunks)

    def batch(
        self, index: Tensor, policy: Policy, elapsed: tuple[int, int], generator: torch.Generator
    ) -> Demonstrated:
        """Windows in policy units. An own chunk is ``elapsed`` steps old, fewer near the start of an episode.

        One that is as old as the horizon or older says nothing about these positions and is not used.
        """
        observation = self.observation[index]
        actions = policy.to_policy(self.action[self.frames[index]], observation)
        if self.own is None:
            return Demonstrated(actions, self.valid[index], actions, torch.zeros_like(index))
        horizon = actions.shape[1]
        low, high = elapsed
        steps = torch.randint(low, high + 1, (len(index),), generator=generator).to(index.device)
        steps = torch.minimum(steps, self.age[index])
        position = (torch.arange(horizon, device=index.device) + steps[:, None]).clamp(max=horizon - 1)
        own = self.own[index - steps].gather(1, position[..., None].expand_as(actions))
        known = torch.where(steps > 0, (horizon - steps).clamp(min=0), 0)
        return Demonstrated(actions, self.valid[index], policy.to_policy(own, observation), known)
