"""What an update of a policy costs in single precision, in bfloat16 and compiled.

`python benchmarks/precision.py compiled`; without the word nothing is compiled, which takes minutes.

On one thread of a processor, the least time of some updates each, which take turns so that a busy machine slows all.
"""

import sys
import time
from typing import Any

import numpy as np
import torch

from segue.data.episodes import Episodes
from segue.data.pictures import Pictures
from segue.strategies.naive import FlowMatching
from segue.training.config import TrainingConfig
from segue.training.data import DemonstratedChunks
from segue.training.fit import Descent
from segue.training.loop import policy_loss
from segue.training.recipe import Recipe

ROUNDS = 5


def episodes(pictures: bool) -> Episodes:
    random = np.random.default_rng(0)
    frames, names = 300, tuple(f"joint {i}" for i in range(14))
    way = random.standard_normal((frames, 14)).astype(np.float32)
    seen = {"top": Pictures.of(random.integers(0, 255, (frames, 96, 96, 3), np.uint8))} if pictures else {}
    return Episodes(way, way, np.array([frames], np.int64), 0.02, names, names, tuple(range(14)), "random", seen)


def update(recipe: Recipe, pictures: bool, batch: int, bf16: bool, compiled: bool) -> Any:
    """A function that makes one update."""
    torch.manual_seed(0)
    shown = episodes(pictures)
    policy = recipe.policy(shown).train()
    chunks, generator = DemonstratedChunks(shown, policy), torch.Generator().manual_seed(0)

    def loss(module: Any, *parts: Any) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return policy_loss(module, *parts)

    descent = Descent(policy, policy.parameters(), loss, TrainingConfig(batch=batch), fused=True)
    if compiled:
        policy.network = torch.compile(policy.network)  # type: ignore[attr-defined]
        if policy.units.sight is not None:  # type: ignore[attr-defined]
            policy.units.sight.encoder = torch.compile(policy.units.sight.encoder)  # type: ignore[attr-defined]

    def one(number: int) -> None:
        index = torch.randint(0, len(chunks), (batch,), generator=generator)
        pair = FlowMatching().pair(chunks.batch(index, policy, (4, 16), generator), generator)
        descent.step(number, pair, chunks.seen(index), 0.02, generator)

    return one


def main() -> None:
    torch.set_num_threads(1)
    mlp = Recipe(network_settings={"width": 512})
    for name, recipe, pictures, batch in (("MLP", mlp, False, 256), ("ResNet, 96 x 96", mlp, True, 32)):
        ways = {"float32": (False, False), "bf16": (True, False)}
        if "compiled" in sys.argv:
            ways["compiled"] = (False, True)
        ones = {}
        for way, choice in ways.items():
            started = time.perf_counter()
            ones[way] = update(recipe, pictures, batch, *choice)
            ones[way](0)
            print(f"{name}, batch {batch}, {way}: first update {time.perf_counter() - started:.1f} s", flush=True)
        least = dict.fromkeys(ones, float("inf"))
        for number in range(1, 1 + ROUNDS * (1 if pictures else 10)):
            for way, one in ones.items():
                started = time.perf_counter()
                one(number)
                least[way] = min(least[way], time.perf_counter() - started)
        for way, seconds in least.items():
            print(f"{name}, batch {batch}, {way}: {1000 * seconds:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
