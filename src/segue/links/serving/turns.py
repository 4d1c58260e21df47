"""Whose turn it is at a server: the newest question of each client, several at once where the policy can.

    client A   q1 q2 q3 --> q3 -+
    client B   q1 ----------> q1 -+--> [A q3, B q1]  one batch at a time
    client C   ------------------'     begins when all who ask are there, or after `wait`

Clients have their turn in the order in which they began to wait. A newer question takes the place of an older one and
keeps it, so that whoever asks often has no more turns than anybody else. While a batch is under way the next one
gathers by itself, and nobody waits for the sake of others.

Time is told from outside, so that the same rule serves robots and simulated ones.
"""

from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

Client = TypeVar("Client")
Question = TypeVar("Question")


class Turns(Generic[Client, Question]):
    """Gathers questions into batches; the caller says when one begins (`take`) and ends (`done`).

    Args:
        most: Questions of a batch.
        wait: Longest time that a question waits for others while nothing is under way [s].
        alike: Whether two questions may be answered together.
    """

    def __init__(self, most: int, wait: float, alike: Callable[[Question, Question], bool]) -> None:
        self.most, self.wait, self._alike = most, wait, alike
        self._waiting: dict[Client, tuple[Question, float]] = {}
        self._held: set[Client] = set()
        self._busy = False

    def ask(self, client: Client, question: Question, now: float) -> Question | None:
        """Take a question, and return the one that it replaces; its time is its own, its place that of the older."""
        before = self._waiting.get(client)
        self._waiting[client] = question, now
        return None if before is None else before[0]

    def forget(self, client: Client) -> None:
        """Drop a client and what it waits for."""
        self._waiting.pop(client, None)
        self._held.discard(client)

    def hold(self, client: Client) -> None:
        """Give a client no turn until `release`: it does not take its last answer."""
        self._held.add(client)

    def release(self, client: Client) -> None:
        """Give a client its turn again."""
        self._held.discard(client)

    def due(self, robots: int) -> float:
        """Return when the next batch begins; infinite while one is under way or nobody waits.

        Args:
            robots: Clients that ask at all: once all of them wait, there is nobody to wait for.
        """
        if self._busy:
            return inf
        arrivals = [now for client, (_, now) in self._waiting.items() if client not in self._held]
        if not arrivals:
            return inf
        return arrivals[0] + (self.wait if len(arrivals) < min(self.most, robots) else 0.0)

    def take(self) -> list[tuple[Client, Question, float]]:
        """Begin a batch: who asks, what, and since when; the first in line, and those that can be answered with it."""
        batch: list[tuple[Client, Question, float]] = []
        for client, (question, arrived) in self._waiting.items():
            if client not in self._held and (not batch or self._alike(batch[0][1], question)):
                batch.append((client, question, arrived))
                if len(batch) == self.most:
                    break
        for client, _, _ in batch:
            del self._waiting[client]
        self._busy = bool(batch)
        return batch

    def done(self) -> None:
        """End the batch that is under way."""
        self._busy = False
