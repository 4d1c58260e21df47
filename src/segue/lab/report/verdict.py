"""What a comparison says, in sentences: how the default method does against the others."""

from collections.abc import Sequence

from segue.core.metrics import METRICS
from segue.lab.report.table import HEADLINE, Summary, Verdict

PLAIN = "naive"
"""The method that does nothing."""


def headline(summary: Summary, plain: str = PLAIN) -> str:
    """What the default method does for a policy under delay, in one sentence; empty where that was not measured.

    The longest delay is told, whatever the outcome.

    Args:
        summary: With the default method and one that does nothing.
        plain: Name of the latter.
    """
    hero, delay = summary.default, max(summary.delays)
    if hero is None or hero == plain or plain not in summary.labels or delay == 0:
        return ""

    def told(name: str) -> str:
        success, switches = (summary.interval(name, delay, metric) for metric in ("success", "mode_switches"))
        low, high = (f"{100 * bound:.0f}" for bound in (success.low, success.high))
        return (
            f"{summary.labels[name]} succeeds in {100 * success.value:.0f} % of the episodes ({low} to {high} %) and "
            f"changes its plan {switches.value:.1f} times"
        )

    return f"{delay} steps of delay: {told(plain)}; {told(hero)}."


def verdict(summary: Summary) -> str:
    """One sentence: where the default method is clearly best, clearly behind, or neither, in the headline measures.

    Without a default the method that is best most often takes its place.
    """
    hero = summary.default or _most_often_best(summary)
    others = [name for name in summary.labels if name != hero]
    if hero is None or not others:
        return f"Only {', '.join(summary.labels.values())} was measured: there is nothing to compare with."
    parts = [_verdict_on(summary, hero, others, metric) for metric in HEADLINE if metric in summary.metrics]
    role = ", the default," if summary.default else ""
    field = _join([summary.labels[name] for name in others]) if len(others) <= 3 else f"{len(others)} others"
    return f"{summary.labels[hero]}{role} against {field}: {'; '.join(parts)}."


def _most_often_best(summary: Summary) -> str | None:
    firsts = [summary.best(delay, metric) for delay in summary.delays for metric in HEADLINE]
    return max((name for name in firsts if name), key=firsts.count, default=None)


def _verdict_on(summary: Summary, hero: str, others: Sequence[str], metric: str) -> str:
    best: list[int] = []
    level: list[int] = []
    behind: dict[int, list[str]] = {}
    for delay in summary.delays:
        outcomes = [summary.compare(hero, name, delay, metric) for name in others]
        if "worse" in outcomes:
            ahead = [name for name, outcome in zip(others, outcomes, strict=True) if outcome == "worse"]
            behind[delay] = [summary.labels[name] for name in ahead]
        else:
            (best if set(outcomes) == {"better"} else level).append(delay)
    places = [("clearly best", best), ("among the best", level)]
    for ahead in dict.fromkeys(among(names, len(others)) for names in behind.values()):
        places.append((f"clearly behind {ahead}", [d for d in behind if among(behind[d], len(others)) == ahead]))
    texts = [f"{place}{_at(delays, summary.delays)}" for place, delays in places if delays]
    return f"{METRICS[metric].label.lower()} {', '.join(texts)}"


def among(names: Sequence[str], total: int) -> str:
    """Methods by name while a reader can take them in, else their number."""
    return (
        _join(names)
        if len(names) <= 2
        else f"all {total} others"
        if len(names) == total
        else f"{len(names)} of {total} others"
    )


def _at(delays: Sequence[int], every: Sequence[int]) -> str:
    return " at every delay" if len(delays) == len(every) else f" at delay {_join([str(delay) for delay in delays])}"


def duels(summary: Summary) -> list[tuple[str, list[tuple[str, str]]]]:
    """The default method's wins and losses against each other one.

    Returns:
        Label of the other method; for each headline measure the delays at which the default is clearly better and
        those at which it is clearly worse. Empty without a default.
    """
    if summary.default is None:
        return []

    def delays(other: str, metric: str, wanted: Verdict) -> str:
        hero = summary.default or ""
        return ", ".join(str(d) for d in summary.delays if summary.compare(hero, other, d, metric) == wanted)

    metrics = [metric for metric in HEADLINE if metric in summary.metrics]
    return [
        (label, [(delays(name, metric, "better"), delays(name, metric, "worse")) for metric in metrics])
        for name, label in summary.labels.items()
        if name != summary.default
    ]


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
