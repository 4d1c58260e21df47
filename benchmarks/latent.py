"""What a seam between latent chunks is made of: each piece of a continuation in latent space, without a simulator.

    python benchmarks/latent.py runs/adroit-door/seed-0

Two chunks are sampled from the plain latent policy of a run, s steps of a demonstration apart. The first is the plan
that is being executed, the second knows nothing of it. They are joined in latent space with the weights w of the
schedule,

    z = w E(old) + (1 - w) E(new),      A = D(z),      executed: old[:d], A[d:]

which is what a sampler that holds a latent position with weight w tends to, whatever pulls it there. "Shifted" takes
for E(old) the latents of the whole old chunk, s / f positions on, as they were, and is what code does that keeps the
last latent chunk and encodes nothing (arXiv 2605.24931). Two more autoencoders, one whose encoder sees no step ahead
and the published one, are trained beside the first if they are not there yet.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from segue.data.episodes import Episodes
from segue.lab.tasks.tasks import task
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, Codec, paper_autoencoder, refine
from segue.policies.latent import LatentPolicy
from segue.policies.policy import Policy
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.reuse_then_refine import Anchor, splice
from segue.strategies.weights import schedule
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder

APART = 8
EVERY = 25
STEPS = 5
POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda steps: steps.mean(2),
    "max": lambda steps: steps.amax(2),
    "min": lambda steps: steps.amin(2),
}
"""A position's weight from those of its control steps."""


def sampled(policy: Policy, observation: Tensor) -> Tensor:
    """A chunk per observation, robot units. (batch, horizon, action)."""
    noise = torch.randn(len(observation), *policy.units.chunk_shape)
    prefix = nothing_known(noise, policy.units.stride)
    return policy.units.to_robot(policy.continue_chunk(Naive(), observation, prefix, noise, STEPS), observation)


def pairs(policy: Policy, episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Old chunks and new ones, `APART` steps later. (batch, horizon, action) each."""
    starts = [0, *episodes.ends[:-1].tolist()]
    frames = [f for start, end in zip(starts, episodes.ends, strict=True) for f in range(start, end - APART, EVERY)]
    observation = torch.as_tensor(episodes.observation)
    return sampled(policy, observation[frames]), sampled(policy, observation[[f + APART for f in frames]])


def shifted(chunk: Tensor, positions: int) -> Tensor:
    """The chunk so many positions later, its last one held. (batch, positions, numbers)."""
    return torch.cat([chunk[:, positions:], chunk[:, -1:].expand(-1, positions, -1)], dim=1)


def continued(codecs: Mapping[str, Codec], before: Tensor, new: Tensor, delay: int) -> dict[str, Tensor]:
    """Chunks by how they continue. Shape (batch, horizon, action) each."""
    old = shifted(before, APART)
    horizon, reused = new.shape[1], torch.full((len(new),), delay)
    w = schedule(horizon, reused, torch.full_like(reused, horizon - APART - delay))

    def finished(codec: Codec, chunk: Tensor) -> dict[str, Tensor]:
        spliced = splice(old, chunk, reused)
        return {
            "refined": refine(codec, spliced),
            "anchored": Anchor()(chunk, spliced, reused),
            "old detail put back": chunk + w[..., None] * (old - refine(codec, old)),
        }

    first = next(iter(codecs.values()))
    found = {
        "old chunk, no seam": old,
        "new chunk as it is": new,
        "Reuse-then-Refine": refine(first, splice(old, new, reused)),
        "actions faded": w[..., None] * old + (1 - w[..., None]) * new,
    }
    for name, codec in codecs.items():
        held, free = codec.encode(old), codec.encode(new)
        for pool, reduce in POOLS.items():
            weight = reduce(w.unflatten(1, (-1, codec.stride)))[..., None]
            chunk = codec.decode(weight * held + (1 - weight) * free)
            found[f"latents, {name}, {pool}"] = chunk
            if pool == "mean":
                found |= {f"latents, {name}, {pool}, {how}": each for how, each in finished(codec, chunk).items()}
                kept = shifted(codec.encode(before), APART // codec.stride)
                found[f"latents, {name}, {pool}, shifted"] = codec.decode(weight * kept + (1 - weight) * free)
    return found


def measures(chunk: Tensor, old: Tensor, new: Tensor, delay: int, scale: Tensor) -> dict[str, float]:
    """In standard deviations of the demonstrated actions."""
    executed = torch.cat([old[:, :delay], chunk[:, delay:]], dim=1) / scale
    step = executed.diff(dim=1)
    jump = step[:, delay - 1] - (step[:, delay - 2] + step[:, delay]) / 2
    return {
        "committed": float(((chunk - old)[:, delay - 1] / scale).square().mean().sqrt()),
        "jump": float(jump.square().mean(1).sqrt().mean()),
        "jerk": float(executed.diff(n=3, dim=1).norm(dim=2).mean()),
        "from the new": float(((chunk - new)[:, delay:] / scale).square().mean().sqrt()),
    }


@torch.no_grad()
def table(policy: LatentPolicy, others: Mapping[str, Codec], episodes: Episodes, delays: list[int]) -> str:
    """Markdown, one row per way of continuing."""
    torch.manual_seed(0)
    before, new = pairs(policy, episodes)
    old, scale = shifted(before, APART), torch.as_tensor(episodes.action.std(0))
    codecs: dict[str, Codec] = {"default": policy.autoencoder, **others}
    rows: dict[str, list[str]] = {}
    for delay in delays:
        for label, chunk in continued(codecs, before, new, delay).items():
            found = measures(chunk, old, new, delay, scale)
            rows.setdefault(label, []).append(" | ".join(f"{value:.3g}" for value in found.values()))
    names = " | ".join(f"d = {d}: committed | jump | jerk | from the new" for d in delays)
    lines = [f"| {len(new)} pairs | {names} |", "|:---|" + "---:|" * (4 * len(delays))]
    return "\n".join([*lines, *(f"| {label} | {' | '.join(cells)} |" for label, cells in rows.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="adroit-door")
    parser.add_argument("--delays", type=int, nargs="+", default=[4, 6, 8])
    chosen = parser.parse_args()
    episodes, policy = task(chosen.task).demonstrations(), checkpoint.load(chosen.run / "latent" / "plain").policy()
    if not isinstance(policy, LatentPolicy):
        parser.error(f"{chosen.run / 'latent' / 'plain'} is no latent policy")
    names = tuple(episodes.action_names)
    configs = {
        "causal": AutoencoderConfig(policy.spec.horizon, names, len(names), network_settings={"past": 2}),
        "published": paper_autoencoder(names, horizon=policy.spec.horizon),
    }
    others = {
        name: train_autoencoder(
            episodes, config, AutoencoderTraining(), run=chosen.run / f"autoencoder-{name}", task=chosen.task,
            resume=True,
        )
        for name, config in configs.items()
    }  # fmt: skip
    Console(highlight=False).print(table(policy, others, episodes, chosen.delays), soft_wrap=True)


if __name__ == "__main__":
    main()
