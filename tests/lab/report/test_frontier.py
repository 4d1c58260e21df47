"""The default method against the frontier of the others."""

from fakes.summaries import BASE, summary
from segue.lab.report.frontier import frontier_lines


def test_a_trade_is_outside_of_the_frontier() -> None:
    (line,) = frontier_lines(summary({"ours": BASE, "smooth": (0.0, 3.0, 5.0, 0.05, 0.5)}, "ours"))
    assert line == "delay 4: ours is outside of the frontier of the others; best mean in success, completion time."


def test_a_method_behind_in_everything_is_said_to_be() -> None:
    (line,) = frontier_lines(summary({"ours": (0.0, 3.0, 11.0, 0.2, 2.0), "other": BASE}, "ours"))
    assert line == "delay 4: ours is no better than other in any measure; best mean in none."


def test_dominated_methods_are_named() -> None:
    (line,) = frontier_lines(summary({"ours": BASE, "worse": (1.0, 2.0, 10.0, 0.1, 2.0)}, "ours"))
    assert line.endswith("nowhere worse than worse, and better somewhere.")


def test_nothing_is_said_without_a_default() -> None:
    assert frontier_lines(summary({"one": BASE, "two": BASE}, None)) == []


def test_one_method_alone_has_no_frontier_to_stand_against() -> None:
    assert frontier_lines(summary({"ours": BASE}, "ours")) == []
