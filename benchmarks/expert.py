"""How often the expert of adroit-pen succeeds, without noise and with that of its demonstrations.

python benchmarks/expert.py [--episodes 500]
"""

import argparse

import numpy as np
from rich.console import Console

from segue.lab.statistics import wilson
from segue.lab.tasks.adroit_pen import AdroitPen, Expert, play


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=500)
    episodes = parser.parse_args().episodes
    pen, expert, console = AdroitPen(), Expert(), Console(highlight=False)
    for noise in (0.0, 1.0):
        successes, frames = 0, []
        for seed in range(episodes):
            pen.reset(seed)
            frames.append(len(play(pen, expert, np.random.default_rng(seed), noise)[1]))
            successes += pen.outcome().success
        low, high = wilson(successes / episodes, episodes, 1.96)
        console.print(
            f"noise {noise:g}: success {successes / episodes:.2f} ({low:.2f}-{high:.2f}) in {episodes} episodes, "
            f"median length {np.median(frames):.0f} steps"
        )


if __name__ == "__main__":
    main()
