"""Saves checkpoints without end in a child that is killed at a random moment, and looks at what is left.

    python checkpoint_saver.py RUN KILLS

Prints a line of JSON: how many kills there were, how many left a half-written checkpoint behind, and what was wrong.
"""

import json
import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path

import torch

from fakes import point_mass
from segue.training import checkpoint

MADE = point_mass.policy()


def save(run: Path, number: int) -> None:
    """A checkpoint in which everything says the same number; one update in three is written again."""
    with torch.no_grad():
        for tensor in MADE.state_dict().values():
            tensor.fill_(number)
    checkpoint.save(run, 10 + number // 3, MADE, {"number": number}, {"raw": torch.full((5000,), float(number))})


def whole(run: Path) -> bool:
    """Whether all of the last checkpoint says the same number."""
    found = checkpoint.load(run)
    tensors = [*found.policy().state_dict().values(), *checkpoint.load_resume(found).values()]
    return all(bool((tensor == found.info["number"]).all()) for tensor in tensors)


def main() -> None:
    run, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    chance, interrupted, wrong = random.Random(0), 0, []
    save(run, 0)
    for kill in range(kills):
        first = checkpoint.load(run).info["number"] + 1
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # should nobody be left to kill it
            for number in count(first):
                save(run, number)
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        interrupted += any(run.glob(".*"))
        try:
            if not whole(run):
                wrong.append(f"kill {kill}: files of different checkpoints")
        except Exception as error:
            wrong.append(f"kill {kill}: {error}")
    save(run, 1_000_000)
    left = [path.name for path in run.glob(".*")]
    print(json.dumps({"kills": kills, "interrupted": interrupted, "wrong": wrong, "left": left}))


if __name__ == "__main__":
    main()
