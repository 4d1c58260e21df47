"""What a comparison says, in sentences: how the default method does against the others."""

from collections.abc import Sequence

from segue.core.metrics import METRICS
from segue.lab.report.table import HEADLINE, Summary, Verdict, shown, unit

PLAIN = "naive"
"""The method that does nothing."""


def headline(summary: Summary, plain: str = PLAIN) -> str:
    """Say who does how well at the longest delay, in one sentence with two numbers, whatever the outcome.

    It is the default method against the one that does nothing, in success where that was measured; where one of them
    is missing, the best of the others takes its place.
    """
    for delay, metric in ((delay, metric) for delay in reversed(summary.delays) for metric in HEADLINE):
        names = summary.ranked(delay, metric)
        if len(names) < 2:
            continue
        hero = summary.default if summary.default in names else names[0]
        rival = plain if plain in names and plain != hero else next(name for name in names if name != hero)
        one, other = (summary.labels[name] for name in (hero, rival))
        values = [summary.interval(name, delay, metric) for name in (hero, rival)]
        if metric == "success":
            ours, theirs = (f"{100 * value.value:.0f} %" for value in values)
            told = f"{one} succeeds in {ours} of the episodes and {other} in {theirs}"
        else:
            ours, theirs = (f"{shown(value, metric)[0]} {unit(metric)}" for value in values)
            told = f"{METRICS[metric].label.lower()} is {ours} under {one} and {theirs} under {other}"
        when = f"With {delay} steps of delay ({1000 * delay * summary.dt:.0f} ms)" if delay else "Without delay"
        clear = "no clear" if summary.compare(hero, rival, delay, metric) == "level" else "a clear"
        return f"{when}, {told}: {clear} difference."
    return verdict(summary)


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
