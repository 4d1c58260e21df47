"""A thousand robots on twenty servers, in virtual time: how long they wait, and what happens when a server dies.

    python benchmarks/fleet.py [--robots 1000] [--servers 20] [--batches 1:0.006,2:0.008,...] [--run RUN]

Each server goes by the rules of the real one: `Turns` says whose turn it is, `Capacity` how many robots there is room
for; a robot that is turned away or loses its server tries the next one, as behind any TCP balancer, with the pauses of
`RemotePolicy`. What a batch takes was measured on `runs/push-t/seed-0`; --run measures it anew, as CPU time, which
depends little on what else this machine does; --batches says it. One server is killed in the middle.
"""

import argparse
import heapq
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from segue.core.spec import PolicySpec
from segue.links.link import Backoff
from segue.links.serving.capacity import Capacity
from segue.links.serving.load import Delays
from segue.links.serving.turns import Turns

MEASURED = {1: 0.0194, 2: 0.0216, 4: 0.0277, 8: 0.0425, 16: 0.0498, 32: 0.0505}
"""Seconds of a batch of so many robots."""
SPEC = PolicySpec(32, 0.1, ("x",), ("a",))
PAUSES = Backoff(first=0.05, most=2.0, jitter=0.5)


@dataclass(frozen=True)
class Fleet:
    """What is simulated.

    Attributes:
        robots: That ask.
        servers: That answer, each one batch at a time.
        spec: Of their policy; a robot asks after half of a chunk.
        batches: Seconds of a batch of so many.
        wait: Longest time that a question waits for others while its server has nothing to do [s].
        network: Mean time on the way, each way; half of it is the least there is [s].
        end: How long [s].
        kill: When one of the servers is killed [s]; None: never.
    """

    robots: int = 1000
    servers: int = 20
    spec: PolicySpec = SPEC
    batches: Mapping[int, float] = field(default_factory=lambda: MEASURED)
    wait: float = 0.002
    network: float = 0.001
    end: float = 60.0
    kill: float | None = 30.0


class Server:
    """One server: its line, its room, and who is there."""

    def __init__(self, fleet: Fleet) -> None:
        self.capacity = Capacity(fleet.spec, fleet.batches)
        self.turns = Turns[int, float](self.capacity.most, fleet.wait, lambda *_: True)
        self.robots: set[int] = set()
        self.alive, self.worked = True, 0.0


class Simulation:
    """Runs a fleet.

    Attributes:
        delays: From asking to the answer; missed are those that came after the end of the running chunk or never.
        seen: How often a robot was turned away, moved, or overtook itself.
        without: Longest time that a robot of the server that was killed had none [s].
    """

    def __init__(self, fleet: Fleet, seed: int = 0) -> None:
        self.fleet, self.rng = fleet, random.Random(seed)
        self.servers = [Server(fleet) for _ in range(fleet.servers)]
        self.delays, self.seen, self.without = Delays(), Counter[str](), 0.0
        self.period = max(fleet.spec.horizon // 2, 1) * fleet.spec.dt
        self.left = (fleet.spec.horizon - max(fleet.spec.horizon // 2, 1)) * fleet.spec.dt
        self._at: list[Server | None] = [None] * fleet.robots
        self._events: list[tuple[float, int, str, Any]] = []
        self._count = self._next = 0

    def run(self) -> "Simulation":
        """From the first connection to the last event."""
        for robot in range(self.fleet.robots):
            begin = robot / self.fleet.robots * self.period
            self._later(begin, "connect", (robot, 0, begin))
            self._later(begin + 0.5 * self.period, "ask", robot)
        if self.fleet.kill is not None:
            self._later(self.fleet.kill, "kill", self.servers[0])
        while self._events:
            now, _, what, about = heapq.heappop(self._events)
            getattr(self, f"_{what}")(now, about)
        return self

    def busy(self) -> float:
        """Share of the time that servers worked, those that live."""
        alive = [each.worked for each in self.servers if each.alive]
        return sum(alive) / len(alive) / self.fleet.end

    def _later(self, at: float, what: str, about: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, what, about))

    def _way(self) -> float:
        return self.fleet.network * (0.5 + self.rng.expovariate(2.0))

    def _connect(self, now: float, about: tuple[int, int, float]) -> None:
        robot, failures, since = about
        server = self.servers[self._next % len(self.servers)]
        self._next += 1
        if server.alive and server.capacity.refusal(len(server.robots)) is None:
            server.robots.add(robot)
            self._at[robot] = server
            self.without = max(self.without, now - since)
            self.seen["connected"] += 1
        elif now < self.fleet.end:
            self.seen["turned away"] += 1
            self._later(now + PAUSES.seconds(failures + 1, self.rng), "connect", (robot, failures + 1, since))

    def _ask(self, now: float, robot: int) -> None:
        self.delays.asked += 1
        server = self._at[robot]
        if server is None:
            self.delays.missed += 1
        else:
            self._later(now + self._way(), "arrive", (server, robot, now))
        if now + self.period < self.fleet.end:
            self._later(now + self.period, "ask", robot)

    def _arrive(self, now: float, about: tuple[Server, int, float]) -> None:
        server, robot, asked = about
        if not server.alive:
            self.delays.missed += 1
        elif server.turns.ask(robot, asked, now) is not None:
            self.delays.missed += 1
            self.seen["overtaken"] += 1
        self._go_on(now, server)

    def _go_on(self, now: float, server: Server) -> None:
        due = server.turns.due(len(server.robots))
        if due == inf or not server.alive:
            return
        if due > now:
            return self._later(due, "go_on", server)
        batch = [(robot, asked) for robot, asked, _ in server.turns.take()]
        took = server.capacity.seconds(len(batch))
        server.worked += took
        self._later(now + took, "done", (server, batch))

    def _done(self, now: float, about: tuple[Server, list[tuple[int, float]]]) -> None:
        server, batch = about
        if not server.alive:
            self.delays.missed += len(batch)
            return
        server.turns.done()
        for _, asked in batch:
            delay = now + self._way() - asked
            self.delays.add(delay)
            self.delays.missed += delay > self.left
        self._go_on(now, server)

    def _kill(self, now: float, server: Server) -> None:
        server.turns.done()  # whatever was under way
        self.delays.missed += len(server.turns.take())
        server.alive = False
        for robot in server.robots:
            self._at[robot] = None
            self._later(now + PAUSES.seconds(1, self.rng), "connect", (robot, 1, now))


def measured_of(run: Path, method: str) -> tuple[PolicySpec, dict[int, float]]:
    """CPU seconds of batches of a trained policy."""
    import torch

    from segue.links.server import MOST_AT_ONCE
    from segue.links.serving.capacity import measured
    from segue.links.worker import warm_up
    from segue.methods.load import chunk_policy
    from segue.policies.chunk_policy import SharedPolicy

    torch.set_num_threads(1)
    policy = SharedPolicy(chunk_policy(run, method)[0], 0)
    warm_up(policy)
    found = measured(policy, MOST_AT_ONCE, time.process_time)
    return policy.spec, {size: found.seconds(size) for size in (1, 2, 4, 8, 16, 32) if size <= found.most}


def main() -> None:
    """Simulate and show."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", type=int, default=1000)
    parser.add_argument("--servers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--batches", help="seconds by robots, such as 1:0.01,32:0.03")
    parser.add_argument("--run", type=Path, help="folder of a trained policy to measure")
    parser.add_argument("--method", default="predictive")
    chosen = parser.parse_args()
    spec, batches = SPEC, dict(MEASURED)
    if chosen.run is not None:
        spec, batches = measured_of(chosen.run, chosen.method)
    if chosen.batches:
        batches = {int(size): float(took) for size, took in (each.split(":") for each in chosen.batches.split(","))}
    print("a batch of", ", ".join(f"{size}: {1e3 * took:.3g} ms" for size, took in batches.items()))
    table = Table(title=f"{chosen.servers} servers, one killed half-way", title_justify="left")
    for name in ("robots", "busy", "median", "99 of 100", "missed", "turned away", "longest without a server"):
        table.add_column(name, justify="right")
    for robots in (chosen.robots // 4, chosen.robots // 2, chosen.robots, 2 * chosen.robots):
        end = chosen.seconds
        found = Simulation(Fleet(robots, chosen.servers, spec, batches, end=end, kill=end / 2)).run()
        table.add_row(
            str(robots), f"{100 * found.busy():.0f} %", f"{1e3 * found.delays.quantile(0.5):.1f} ms",
            f"{1e3 * found.delays.quantile(0.99):.1f} ms", f"{100 * found.delays.missed / found.delays.asked:.2f} %",
            str(found.seen["turned away"]), f"{found.without:.2f} s",
        )  # fmt: skip
    each = Capacity(spec, batches).robots
    Console(width=110).print(table, f"one server carries {each} robots, {chosen.servers} carry {chosen.servers * each}")


if __name__ == "__main__":
    main()
