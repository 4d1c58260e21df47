import io
import math
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fakes import summaries
from segue.errors import DataError, UnknownNameError
from segue.lab.report import table
from segue.lab.report.table import console, decimals, episode_rows, markdown, shown
from segue.lab.report.verdict import duels, headline, verdict
from segue.lab.statistics import Interval


def comparison(
    values: dict[str, dict[int, dict[str, list[float | None]]]], *, default: str | None = None
) -> dict[str, Any]:
    """Results with one training seed; values per method, delay and metric."""
    cells = [
        summaries.cell(name, delay, metrics, training_seed=3)
        for name, delays in values.items()
        for delay, metrics in delays.items()
    ]
    return summaries.comparison({name: name.upper() for name in values}, cells, default=default)


def summarise(content: dict[str, Any]) -> table.Summary:
    return table.summarise(summaries.decoded(content))


def steady(value: float, episodes: int = 12, spread: float = 0.01) -> list[float | None]:
    """Values around a mean, alternating, so that the mean is exact and the spread known."""
    return [value + spread * (-1) ** index for index in range(episodes)]


def two(ours: float, theirs: float) -> dict[str, Any]:
    return comparison(
        {"a": {0: {"completion_time": steady(ours)}}, "b": {0: {"completion_time": steady(theirs)}}}, default="a"
    )


def test_means_and_delays_come_from_the_cells() -> None:
    results = comparison({"a": {4: {"score": [0.25, 0.75]}, 0: {"score": [1.0, 0.0, 0.5]}}})
    summary = summarise(results)
    assert summary.delays == (0, 4)
    assert summary.metrics == ("score",)
    assert summary.interval("a", 4, "score").value == pytest.approx(0.5)
    assert summary.interval("a", 0, "score").episodes == 3
    assert math.isnan(summary.interval("a", 2, "score").value)


def test_cells_of_several_training_seeds_are_one_sample() -> None:
    results = comparison({"a": {0: {"score": [0.0, 0.0]}}})
    results["cells"].append({**results["cells"][0], "training_seed": 4, "episodes": {"seed": [0], "score": [0.9]}})
    interval = summarise(results).interval("a", 0, "score")
    assert (interval.episodes, interval.training_seeds) == (3, 2)
    assert interval.value == pytest.approx(0.3)


def test_null_is_undefined_and_counts_for_nothing() -> None:
    interval = summarise(comparison({"a": {0: {"nsparc": [None, 2.0, 4.0]}}})).interval("a", 0, "nsparc")
    assert interval.value == pytest.approx(3.0)
    assert interval.episodes == 2


def test_success_never_has_an_interval_of_no_width() -> None:
    interval = summarise(comparison({"a": {0: {"success": [1.0] * 20}}})).interval("a", 0, "success")
    assert interval.low < interval.value == 1.0


def test_lower_time_and_higher_success_are_better() -> None:
    results = comparison(
        {
            "a": {0: {"success": [1.0] * 40, "completion_time": steady(3.0, 40)}},
            "b": {0: {"success": [0.0] * 40, "completion_time": steady(2.0, 40)}},
        }
    )
    summary = summarise(results)
    assert summary.best(0, "success") == "a"
    assert summary.best(0, "completion_time") == "b"
    assert summary.compare("a", "b", 0, "success") == "better"
    assert summary.compare("a", "b", 0, "completion_time") == "worse"
    assert summary.compare("b", "a", 0, "completion_time") == "better"


def test_a_measure_without_direction_has_no_best() -> None:
    summary = summarise(comparison({"a": {0: {"inference_calls": [3.0, 4.0]}}, "b": {0: {"inference_calls": [9.0]}}}))
    assert summary.best(0, "inference_calls") is None
    assert summary.standing(0, "inference_calls") is None
    assert not summary.among_best("a", 0, "inference_calls")


def test_standing_names_whom_the_best_does_not_clearly_beat() -> None:
    values = {"a": steady(1.0), "b": steady(1.0 + 1e-4, spread=0.3), "c": steady(5.0)}
    summary = summarise(comparison({name: {0: {"completion_time": v}} for name, v in values.items()}))
    standing = summary.standing(0, "completion_time")
    assert standing is not None
    assert (standing.best, standing.rivals) == ("a", ("b",))
    assert [summary.among_best(name, 0, "completion_time") for name in "abc"] == [True, True, False]


def test_pairing_sees_what_overlapping_intervals_hide() -> None:
    luck = np.random.default_rng(0).normal(10, 3, 30)
    results = comparison(
        {
            "a": {0: {"completion_time": luck.tolist()}},
            "b": {0: {"completion_time": (luck + 0.2).tolist()}},
        }
    )
    summary = summarise(results)
    one, other = (summary.interval(name, 0, "completion_time") for name in "ab")
    assert one.low < other.low < one.high
    assert summary.compare("a", "b", 0, "completion_time") == "better"
    assert not summary.among_best("b", 0, "completion_time")


def test_ratio_scales_the_interval_and_needs_a_reference() -> None:
    results = comparison({"a": {0: {"jerk_measured": steady(6.0), "nsparc": steady(2.0)}}})
    summary = summarise({**results, "demonstrations": {"jerk_measured": 2.0, "nsparc": None}})
    interval, ratio = summary.interval("a", 0, "jerk_measured"), summary.ratio("a", 0, "jerk_measured")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3.0, interval.low / 2, interval.high / 2))
    assert math.isnan(summary.ratio("a", 0, "nsparc").value)


def test_headline_tells_the_default_beside_naive_execution_at_the_longest_delay() -> None:
    share, less = {"success": [1.0, 1.0, 1.0, 0.0]}, {"success": [1.0, 0.0, 0.0, 0.0]}
    every = (("naive", less), ("ours", share), ("better", {"success": [1.0] * 4}))
    values: Any = {name: dict.fromkeys((0, 4, 12), each) for name, each in every}
    said = headline(summarise(comparison(values, default="ours")))
    assert said == (
        "With 12 steps of delay (600 ms), OURS succeeds in 75 % of the episodes and NAIVE in 25 %: no clear difference."
    )


@pytest.mark.parametrize(
    ("values", "default", "expected"),
    [
        ({"naive": 9.0, "ours": 1.0}, None, "completion time is 1.00 s under OURS and 9.00 s under NAIVE: a clear"),
        ({"rtc": 9.0, "ours": 1.0, "bid": 5.0}, "ours", "is 1.00 s under OURS and 5.00 s under BID: a clear"),
        ({"rtc": 1.0, "ours": 9.0}, "ours", "is 9.00 s under OURS and 1.00 s under RTC: a clear"),
        ({"naive": 1.0, "rtc": 1.0}, "naive", "is 1.00 s under NAIVE and 1.00 s under RTC: no clear"),
        ({"ours": 1.0}, "ours", "nothing to compare"),
    ],
)
def test_headline_takes_the_best_where_default_or_naive_is_missing(
    values: dict[str, float], default: str | None, expected: str
) -> None:
    cells: Any = {name: {0: {"completion_time": steady(value)}} for name, value in values.items()}
    said = headline(summarise(comparison(cells, default=default)))
    assert expected in said
    assert said.startswith("Without delay, ") == (len(values) > 1)


def test_headline_is_of_the_longest_delay_at_which_two_were_measured() -> None:
    values: Any = {"naive": {0: {"success": [1.0] * 4}}, "ours": {0: {"success": [1.0] * 4}, 8: {"success": [0.0] * 4}}}
    assert headline(summarise(comparison(values, default="ours"))).startswith("Without delay, OURS succeeds in 100 %")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(1.0, 2.0, "clearly best"), (2.0, 1.0, "clearly behind B"), (1.0, 1.0, "among the best")],
)
def test_verdict_tells_wins_and_losses_of_the_default(ours: float, theirs: float, expected: str) -> None:
    sentence = verdict(summarise(two(ours, theirs)))
    assert sentence == f"A, the default, against B: completion time {expected} at every delay."


def test_verdict_names_the_delays_when_they_differ() -> None:
    results = comparison(
        {
            "a": {0: {"completion_time": steady(1.0)}, 2: {"completion_time": steady(4.0)}},
            "b": {0: {"completion_time": steady(2.0)}, 2: {"completion_time": steady(2.0)}},
        },
        default="a",
    )
    assert "clearly best at delay 0, clearly behind B at delay 2" in verdict(summarise(results))


def test_verdict_counts_where_names_would_be_too_many() -> None:
    times = {"a": 3.0, "b": 1.0, "c": 1.1, "d": 1.2, "e": 9.0}
    results = comparison({name: {0: {"completion_time": steady(t)}} for name, t in times.items()}, default="a")
    sentence = verdict(summarise(results))
    assert sentence == "A, the default, against 4 others: completion time clearly behind 3 of 4 others at every delay."


def test_verdict_of_a_default_that_is_first_by_chance_claims_nothing() -> None:
    noisy = np.random.default_rng(1).normal(2.0, 1.0, (2, 10))
    results = comparison({name: {0: {"completion_time": row.tolist()}} for name, row in zip("ab", noisy, strict=True)})
    assert "clearly best" not in verdict(summarise(results))


def test_verdict_of_one_method_compares_nothing() -> None:
    assert "nothing to compare" in verdict(summarise(comparison({"a": {0: {"success": [1.0]}}})))


def test_duels_list_the_delays_of_wins_and_losses() -> None:
    ours = {0: 1.0, 2: 4.0, 4: 2.0, 6: 1.0}
    results = comparison(
        {
            "a": {delay: {"completion_time": steady(value)} for delay, value in ours.items()},
            "b": {delay: {"completion_time": steady(2.0)} for delay in ours},
        },
        default="a",
    )
    assert duels(summarise(results)) == [("B", [("0, 6", "2")])]
    for method in results["methods"]:
        method["default"] = False
    assert duels(summarise(results)) == []


def test_markdown_has_a_row_per_delay_and_method_and_marks_the_best() -> None:
    lines = markdown(summarise(two(1.0, 9.0)), ["completion_time"]).splitlines()
    assert lines[0] == "| delay | method | Completion time [s] |"
    assert len(lines) == 4
    assert lines[2].startswith("| 0 | A | **1.00** (")
    assert lines[3].startswith("| 0 | B | 9.00 (")
    assert len({line.count("|") for line in lines}) == 1


def test_a_method_that_was_not_asked_for_at_a_delay_has_no_row_there() -> None:
    results = two(1.0, 9.0)
    results["cells"].append(summaries.cell("b", 4, {"completion_time": [9.0, 9.0]}))
    results["missing"] = [{"method": "a", "delay": 8, "training_seed": 0}]
    lines = markdown(summarise(results), ["completion_time"]).splitlines()[2:]
    assert [line.split("|")[1:3] for line in lines] == [[" 0 ", " A "], [" 0 ", " B "], [" 4 ", " B "], [" 8 ", " A "]]


def test_markdown_has_further_columns_behind_the_measures() -> None:
    head, rule, first, second = markdown(
        summarise(two(1.0, 9.0)), ["completion_time"], {"Cost": {"b": "3.6"}}
    ).splitlines()
    assert (head, rule) == ("| delay | method | Completion time [s] | Cost |", "|---:|:---|---:|---:|")
    assert first.endswith(" |  |")
    assert second.endswith(" | 3.6 |")


def test_console_shows_units_and_every_method() -> None:
    text = io.StringIO()
    Console(file=text, width=100).print(console(summarise(two(1.0, 9.0)), ["completion_time"]))
    assert "Completion time [s]" in text.getvalue()
    assert all(shown in text.getvalue() for shown in ("A", "B", "1.00", "9.00"))


def test_numbers_and_intervals_are_whole_on_eighty_columns_and_names_fold() -> None:
    results, text = two(1234.5, 9.0), io.StringIO()
    results["methods"][0]["label"] = "Naive async, predicted, carried noise, share 0.5, noise scale 0.7"
    Console(file=text, width=80).print(console(summarise(results), ["completion_time"] * 3))
    assert "…" not in text.getvalue()
    assert all(word in text.getvalue() for word in ("noise", "0.7", "1,234", "9.00"))
    assert max(map(len, text.getvalue().splitlines())) <= 80


def test_brackets_in_a_label_are_text() -> None:
    """Not the markup of the screen: whoever wrote the results chose the label."""
    results, text = two(1.0, 9.0), io.StringIO()
    results["methods"][0]["label"] = "[/bold]x"
    Console(file=text, width=100).print(console(summarise(results), ["completion_time"]))
    assert "[/bold]x" in text.getvalue()


def test_episode_rows_lose_nothing() -> None:
    results = comparison({"a": {0: {"score": [0.5, None]}, 2: {"score": [0.25]}}, "b": {0: {"score": [1.0]}}})
    rows = list(episode_rows(summaries.decoded(results)))
    assert [(row["method"], row["delay"], row["seed"], row["score"]) for row in rows] == [
        ("a", 0, 0, 0.5),
        ("a", 0, 1, None),
        ("a", 2, 0, 0.25),
        ("b", 0, 0, 1.0),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00054321, "0.00054"),
        (0.012345, "0.012"),
        (0.12345, "0.123"),
        (1.2345, "1.23"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (0.0, "0.00"),
    ],
)
def test_three_significant_digits_from_a_tenth_on_and_two_below(value: float, text: str) -> None:
    assert shown(Interval(value, value, value, 1, 1))[0] == text


def test_value_and_ends_have_equally_many_decimals() -> None:
    value, ends = shown(Interval(0.5, -0.00001, 1.0, 4, 1))
    assert decimals(0.5) == 3
    assert (value, ends) == ("0.500", "0.000 to 1.000")
    assert shown(Interval(math.nan, math.nan, math.nan, 0, 0)) == ("–", "")


def test_other_schemas_and_empty_results_are_refused() -> None:
    results = two(1.0, 2.0)
    for broken in ({**results, "schema": 2}, {**results, "cells": []}):
        with pytest.raises(DataError, match="schema 1"):
            summarise(broken)


def test_a_cell_of_an_unlisted_method_is_refused() -> None:
    results = two(1.0, 2.0)
    results["cells"][0]["method"] = "c"
    with pytest.raises(UnknownNameError, match="method in a cell 'c'"):
        summarise(results)


def test_two_execution_horizons_in_one_cell_are_refused() -> None:
    results = two(1.0, 2.0)
    results["cells"].append({**results["cells"][0], "execution_horizon": 4, "training_seed": 9})
    with pytest.raises(DataError, match=r"execution horizons \[4, 8\]"):
        summarise(results)
