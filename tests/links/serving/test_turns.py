"""Whose turn it is: in virtual time, with the rule that the server itself goes by."""

import heapq
from collections import Counter
from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.links.serving.turns import Turns


def turns(most: int = 8, wait: float = 0.0) -> Turns[str, int]:
    return Turns(most, wait, lambda one, other: one // 100 == other // 100)


def names(line: Turns[str, int]) -> list[str]:
    found = [client for client, _, _ in line.take()]
    line.done()
    return found


def test_the_newest_question_takes_the_place_of_the_older_one() -> None:
    line = turns()
    assert line.ask("a", 1, 0.0) is None
    line.ask("b", 2, 1.0)
    assert line.ask("a", 3, 2.0) == 1
    assert line.take() == [("a", 3, 2.0), ("b", 2, 1.0)]
    assert line.due(2) == inf
    line.done()
    assert line.due(2) == inf


def test_only_what_is_alike_is_answered_together_and_the_rest_comes_next() -> None:
    line = turns()
    for client, question in (("a", 1), ("b", 101), ("c", 2), ("d", 102)):
        line.ask(client, question, 0.0)
    assert [names(line), names(line), names(line)] == [["a", "c"], ["b", "d"], []]


def test_nobody_is_waited_for_but_so_long_and_not_if_all_are_there() -> None:
    line = turns(most=3, wait=0.5)
    line.ask("a", 1, 10.0)
    assert line.due(1) == 10.0
    assert line.due(2) == 10.5
    line.ask("b", 1, 10.2)
    assert line.due(2) == 10.0
    assert line.due(9) == 10.5
    line.ask("c", 1, 10.3)
    assert line.due(9) == 10.0  # as many as a batch takes


def test_who_does_not_take_its_answer_has_no_turn_and_costs_the_others_none() -> None:
    line = turns()
    line.ask("deaf", 1, 0.0)
    line.hold("deaf")
    assert line.due(1) == inf
    line.ask("a", 1, 1.0)
    assert names(line) == ["a"]
    line.release("deaf")
    assert names(line) == ["deaf"]
    line.ask("gone", 1, 0.0)
    line.forget("gone")
    assert line.due(1) == inf


@given(
    most=st.integers(1, 4),
    asked=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=80),
)
def test_between_two_turns_of_a_chatty_client_everybody_who_waited_has_had_one(
    most: int, asked: list[tuple[int, int]]
) -> None:
    """Whatever arrives in whatever order: who waits is overtaken by each other client at most once."""
    line: Turns[int, int] = Turns(most, 0.0, lambda one, other: one == other)
    overtaken: dict[int, Counter[int]] = {}
    for step, (client, kind) in enumerate(asked):
        line.ask(client, kind, float(step))
        overtaken.setdefault(client, Counter())
        line.ask(0, 0, float(step))  # the chatty one, at each step
        overtaken.setdefault(0, Counter())
        first = next(iter(overtaken))
        served = [each for each, _, _ in line.take()]
        line.done()
        assert first in served  # the first in line is always served
        for each in served:
            del overtaken[each]


def test_64_robots_at_50_hz_wait_no_longer_than_two_batches() -> None:
    """A batch of n takes 4 ms + n ms; each robot asks every 8 steps of 20 ms, 400 questions a second in all."""
    most, robots, period, end = 32, 64, 8 * 0.02, 20.0
    line: Turns[int, int] = Turns(most, 0.002, lambda *_: True)
    events = [(robot / robots * period, robot) for robot in range(robots)]
    heapq.heapify(events)
    delays, free, replaced = [], 0.0, 0
    while events and events[0][0] < end:
        now, robot = heapq.heappop(events)
        if robot >= 0:
            replaced += line.ask(robot, 0, now) is not None
            heapq.heappush(events, (now + period, robot))
        elif free <= now:
            line.done()
        if free <= now and (due := line.due(robots)) < inf:
            if due > now:
                heapq.heappush(events, (due, -1))
                continue
            batch = line.take()
            free = now + 0.004 + 0.001 * len(batch)
            heapq.heappush(events, (free, -1))
            delays += [free - arrived for _, _, arrived in batch]
    assert replaced == 0
    assert len(delays) > 0.99 * end / period * robots - robots
    assert max(delays) <= 0.002 + 2 * (0.004 + 0.001 * most)
    assert np.quantile(delays, 0.99) <= 0.02  # well within 8 steps, for batches are small: the server is half idle
