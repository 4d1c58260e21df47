"""How cost grows: what is timed runs, and tables say what was measured."""

from typing import Any

import growth
import pytest


def test_sizes_are_those_that_are_asked_for() -> None:
    sizes = {"width": 8, "horizon": 8, "actions": 3, "batch": 4}
    found = growth.trained(sizes, rounds=1)
    wider = growth.trained(sizes | {"width": 16}, rounds=1)
    assert wider["parameters"] > found["parameters"]
    assert found["samples per s"] > 0
    assert growth.inferred(steps=1, batch=2, horizon=8, rounds=1)["ms"] > 0


def test_time_in_a_method_is_counted_and_attributes_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr(growth.time, "perf_counter", lambda: now[0])

    class Robot:
        name = "arm"

        def wait(self) -> str:
            now[0] += 0.25
            return "done"

    clock = [0.0]
    timed = growth.Timed(Robot(), clock)
    assert timed.name == "arm"
    assert clock == [0.0]
    assert timed.wait() == "done"
    assert clock == [0.25]


@pytest.mark.parametrize(
    ("value", "shown"), [("width", "width"), (12345, "12,345"), (1234.5, "1,234"), (0.0123, "0.012"), (3.14159, "3.1")]
)
def test_numbers_are_said_shortly(value: Any, shown: str) -> None:
    assert growth.said(value) == shown


def test_a_table_has_a_row_for_every_size() -> None:
    rows = [{"changed": "width", "to": 8, "ms": 0.5}, {"changed": "width", "to": 16, "ms": 1.25}]
    assert growth.table(rows).splitlines()[2:] == ["| width | 8 | 0.5 |", "| width | 16 | 1.2 |"]
