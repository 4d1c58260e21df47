"""The simulation of a fleet: closed forms where there are some, and nothing is lost anywhere."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from segue.core.spec import PolicySpec

FLEET = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "fleet.py"))
Fleet, Simulation = FLEET["Fleet"], FLEET["Simulation"]
SMALL = Fleet(40, 4, PolicySpec(16, 0.02, ("x",), ("a",)), {1: 0.01, 8: 0.017}, network=0.001, end=20.0, kill=10.0)


def test_one_robot_waits_for_one_inference_and_the_way() -> None:
    found = Simulation(replace(SMALL, robots=1, servers=1, kill=None, network=0.0)).run()
    assert found.delays.missed == 0
    for share in (0.01, 0.5, 1.0):
        assert found.delays.quantile(share) == pytest.approx(0.01, rel=0.02)
    assert found.busy() == pytest.approx(0.01 / found.period, rel=0.02)


@pytest.mark.parametrize("robots", [1, 10, 40, 150])
def test_every_question_is_answered_or_missed(robots: int) -> None:
    found = Simulation(replace(SMALL, robots=robots)).run()
    late = found.delays.missed - (found.delays.asked - found.delays.answered)
    assert 0 <= late <= found.delays.answered
    assert found.delays.asked == pytest.approx(robots * SMALL.end / found.period, rel=0.02)


def test_those_of_a_server_that_is_killed_are_taken_in_by_the_others() -> None:
    found = Simulation(SMALL).run()
    assert sum(len(each.robots) for each in found.servers[1:]) == SMALL.robots
    assert found.seen["connected"] == SMALL.robots + len(found.servers[0].robots)
    assert 0 < found.without < 1.0
    assert found.delays.missed <= 3 * len(found.servers[0].robots)


def test_no_server_has_more_robots_than_it_carries_and_those_beyond_are_turned_away() -> None:
    found = Simulation(replace(SMALL, robots=300, kill=None)).run()
    room = found.servers[0].capacity.robots
    assert all(len(each.robots) == room for each in found.servers)
    assert found.seen["turned away"] > 0
    served = found.delays.quantile(0.99)
    assert served < found.period  # those who are served are served well


def test_it_comes_out_the_same_twice() -> None:
    assert Simulation(SMALL).run().delays.quantile(0.5) == Simulation(SMALL).run().delays.quantile(0.5)
