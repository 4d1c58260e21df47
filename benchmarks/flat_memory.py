"""Whether a server and its clients grow: their memory after a tenth of so many questions, and after all of them.

    python benchmarks/flat_memory.py [--questions 100000] [--robots 4]

The server is a process of its own; the robots are threads of this one. Every thousandth time a robot leaves and
connects again, as happens in the life of a server.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from segue.core.chunk import nothing_to_continue
from segue.links.client import RemotePolicy

FLOOD = Path(__file__).with_name("flood.py")


def resident(pid: int | str) -> int:
    """Memory of a process that is in use [KiB]."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


def ask(url: str, questions: int) -> None:
    """As one robot."""
    there = RemotePolicy(url, deadline=60)
    for number in range(questions):
        if number % 1000 == 999:
            there.close()
        there.next_chunk(np.zeros(1, np.float32), nothing_to_continue(number, 1, 4))
    there.close()


def grown(questions: int, robots: int, say: Callable[[str], object] = print) -> dict[str, tuple[int, int]]:
    """Memory of server and client after a tenth of the questions and after all [KiB]."""
    process = subprocess.Popen([sys.executable, str(FLOOD), "--serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url, found = process.stdout.readline().strip(), {"server": [0, 0], "client": [0, 0]}
        with ThreadPoolExecutor(robots) as threads:
            for place, count in enumerate((questions // 10, questions - questions // 10)):
                list(threads.map(ask, [url] * robots, [count // robots] * robots))
                found["server"][place], found["client"][place] = resident(process.pid), resident("self")
    finally:
        process.terminate()
        process.communicate()
    for name, (before, after) in found.items():
        first, last = f"{before / 1024:.1f} MiB after {questions // 10}", f"{after / 1024:.1f} MiB after {questions}"
        say(f"{name}: {first}, {last} questions")
    return {name: (before, after) for name, (before, after) in found.items()}


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--robots", type=int, default=4)
    chosen = parser.parse_args()
    grown(chosen.questions, chosen.robots)


if __name__ == "__main__":
    main()
