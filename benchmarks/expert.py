"""How often the expert of adroit-pen succeeds: with the noise of its demonstrations, seeing late, and starting late.

python benchmarks/expert.py [--episodes 500]
"""

import argparse
from collections import deque

import numpy as np
from rich.console import Console

from segue.lab.statistics import wilson
from segue.lab.tasks.adroit_pen import MAX_STEPS, AdroitPen, Expert, play


def seeing_late(pen: AdroitPen, expert: Expert, delay: int) -> int:
    """One episode in which each action is for the observation of ``delay`` steps before; its length."""
    late = deque([expert(pen.raw)] * delay)
    for step in range(MAX_STEPS):
        late.append(expert(pen.raw))
        pen.send(pen.spec.clip(late.popleft()))
        if pen.outcome().finished:
            return step + 1
    return MAX_STEPS


def starting_late(pen: AdroitPen, expert: Expert, delay: int) -> int:
    """One episode in which the pen is let go of ``delay`` steps before the hand begins to move; its length."""
    still = pen.spec.clip(pen.rest())
    for _ in range(delay):
        pen.send(still)
    return delay + len(play(pen, expert, np.random.default_rng(0), noise=0.0)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=500)
    episodes = parser.parse_args().episodes
    pen, expert, console = AdroitPen(), Expert(), Console(highlight=False)
    ways = {
        "noise 0": lambda seed: len(play(pen, expert, np.random.default_rng(seed), 0.0)[1]),
        "noise 1": lambda seed: len(play(pen, expert, np.random.default_rng(seed), 1.0)[1]),
        **{f"seeing {d} steps late": lambda _, d=d: seeing_late(pen, expert, d) for d in (2, 4, 8)},
        **{f"starting {d} steps late": lambda _, d=d: starting_late(pen, expert, d) for d in (2, 4, 8)},
    }
    for way, episode in ways.items():
        successes, lengths = 0, []
        for seed in range(episodes):
            pen.reset(seed)
            lengths.append(episode(seed))
            successes += pen.outcome().success
        low, high = wilson(successes / episodes, episodes, 1.96)
        console.print(
            f"{way}: success {successes / episodes:.2f} ({low:.2f}-{high:.2f}) in {episodes} episodes, "
            f"median length {np.median(lengths):.0f} steps"
        )


if __name__ == "__main__":
    main()
