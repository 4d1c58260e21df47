"""A summary of a recorded run: its punctuality, gaps in its actions, and the states of its safety ladder."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.core.smoothness import Array
from segue.plan.plan import Event
from segue.trace.file import Trace
from segue.trace.measures import TAKEN, delays, latencies, robot_spec
from segue.trace.records import DELIVERIES, EVENTS, NAMES

STOOD = EVENTS.index(Event.STOOD)  # there was an action; the ladder says why it was not followed


@dataclass(frozen=True)
class Rung:
    """A change of the safety ladder's state, at a time since the first tick [s]; no cause where the trace has none."""

    time: float
    before: str
    after: str
    cause: str


@dataclass(frozen=True)
class Gap:
    """Ticks in a row without an action, after an episode's first one; the time of the first [s], and what was wrong."""

    time: float
    ticks: int
    why: str


@dataclass(frozen=True, eq=False)
class RunSummary:
    """Sums up the ticks and chunks of a trace.

    Attributes:
        ticks: Control ticks.
        episodes: Epochs.
        dt: Control period [s].
        seconds: Time from the first tick to the end of the last.
        rate: Ticks per second within episodes; NaN below two ticks [Hz].
        missed: Slots of the schedule without a tick.
        dropped: Ticks and chunks that the trace had no room for.
        lateness: Shape (ticks,) [s].
        time: Shape (ticks,), since the first tick [s].
        waiting: Ticks before the first action of each episode.
        gaps: Where the robot ran out of actions.
        saturated: Ticks in which the limits changed a command.
        ladder: Shape (ticks,), codes into ``states``.
        states: Names of the ladder's states.
        rungs: Changes of state.
        outcomes: Chunks by their fate.
        delays: Executed actions from request to arrival, per chunk [steps].
        planned: Delays that the chunks of ``delays`` were planned for [steps].
        latencies: Times from asking to the answer, per chunk after the first [s].
        compared: Requests whose robot could be compared with what was predicted of it.
        doubted: Those of them that found it farther from its prediction than usual.
        ages: How old the pictures were that were seen, of all cameras [s].
    """

    ticks: int
    episodes: int
    dt: float
    seconds: float
    rate: float
    missed: int
    dropped: tuple[int, int]
    lateness: Array
    time: Array
    waiting: int
    gaps: tuple[Gap, ...]
    saturated: int
    ladder: NDArray[np.integer]
    states: tuple[str, ...]
    rungs: tuple[Rung, ...]
    outcomes: dict[str, int]
    delays: NDArray[np.int64]
    planned: NDArray[np.int64]
    latencies: Array
    compared: int
    doubted: int
    ages: Array

    @property
    def starvations(self) -> tuple[int, ...]:
        """Ticks of each gap."""
        return tuple(gap.ticks for gap in self.gaps)

    def findings(self) -> list[str]:
        """Say in sentences whether inference took what was planned, and what the robot had to wait for, and why."""
        return [*self._delays_said(), *self._gaps_said()]

    def rows(self) -> list[tuple[str, str]]:
        """Return label and value of everything that fits in a line, for a table."""
        longest = max(self.starvations, default=0)
        shares = [
            (name, float(np.sum(self.ladder == code)) / max(self.ticks, 1)) for code, name in enumerate(self.states)
        ]
        full = any(self.dropped)
        stood = ", ".join(f"{name} {share:.1%}" for name, share in shares if share > 0)
        return [
            ("ticks", f"{self.ticks:,} in {self.seconds:.1f} s, {_count(self.episodes, 'episode')}"),
            ("rate", "–" if math.isnan(self.rate) else f"{self.rate:.4g} Hz"),
            ("missed slots", f"{self.missed:,}"),
            ("lateness", quantiles(self.lateness)),
            ("waiting for the first chunk", f"{self.waiting:,} ticks"),
            (
                "starved",
                f"{sum(self.starvations):,} ticks in {_count(len(self.starvations), 'gap')}, longest {longest}",
            ),
            ("limited", f"{self.saturated:,} ticks"),
            ("ladder", f"{stood or '–'}; {_count(len(self.rungs), 'change')}"),
            ("chunks", ", ".join(f"{count:,} {name}" for name, count in self.outcomes.items()) or "none"),
            ("inference", quantiles(self.latencies)),
            ("delay", _steps(self.delays)),
            ("prediction", self._prediction()),
            *([("age of pictures", quantiles(self.ages))] if len(self.ages) else []),
            (
                "not recorded",
                "{:,} ticks, {:,} chunks: the trace was full".format(*self.dropped) if full else "nothing",
            ),
        ]

    def _delays_said(self) -> list[str]:
        if len(self.delays) == 0:
            return []
        first, middle, most = int(self.planned[0]), float(np.median(self.delays)), int(self.delays.max())
        how = "slower than" if middle > first else "now and then slower than" if most > first else "as fast as"
        late = int(np.count_nonzero(self.delays > self.planned))
        steps, chunks = _count(first, "step"), _count(len(self.delays), "chunk")
        return [
            f"Inference was {how} planned: {steps} of delay ({1000 * self.dt * first:.0f} ms) planned at first, "
            f"{middle:g} in the median, {most} at most; {late:,} of {chunks} came later than planned for."
        ]

    def _gaps_said(self) -> list[str]:
        if not self.gaps:
            return ["The robot never ran out of actions."] if self.ticks > self.waiting else ["No action was executed."]
        longest, total = max(self.gaps, key=lambda gap: gap.ticks), sum(self.starvations)
        reasons = Counter(gap.why for gap in self.gaps).most_common()
        lost = f"{_count(total, 'tick')} ({total * self.dt:.2f} s)"
        return [
            f"The robot ran out of actions {_times(len(self.gaps))}, for {lost} in all; the longest gap began at "
            f"{longest.time:.2f} s and took {_count(longest.ticks, 'tick')}. "
            f"Why: {'; '.join(f'{_times(count)} {why}' for why, count in reasons)}."
        ]

    def _prediction(self) -> str:
        if not self.compared:
            return "–"
        return (
            f"{self.doubted:,} of {_count(self.compared, 'request')} found the robot farther from its prediction than "
            "usual; their chunks were made of the observation as it was"
        )


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'s' * (number != 1)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def quantiles(seconds: Array) -> str:
    """Write median, 99th percentile and largest in milliseconds."""
    if len(seconds) == 0:
        return "–"
    values = 1e3 * np.quantile(seconds, (0.5, 0.99, 1.0))
    texts = (f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in values)
    return "median {} ms, p99 {} ms, max {} ms".format(*texts)


def _steps(delays: NDArray[np.int64]) -> str:
    if len(delays) == 0:
        return "–"
    return f"median {np.median(delays):g} steps, max {delays.max()}"


def summarise_run(trace: Trace) -> RunSummary:
    """Sum up a trace; raises `DataError` where its header does not name the robot."""
    ticks, dt = trace.ticks, robot_spec(trace).dt
    time = ticks["time"] - ticks["time"][0] if len(ticks) else np.zeros(0)
    states, causes = _names(trace, "ladder"), _names(trace, "causes")
    waiting, gaps = _gaps(trace, time)
    executed, planned = delays(trace)
    named = Counter(
        "given up" if (each := DELIVERIES[code]) is None else each.value for code in trace.chunks["outcome"]
    )
    return RunSummary(
        ticks=len(ticks),
        episodes=len(np.unique(ticks["epoch"])),
        dt=dt,
        seconds=float(time[-1]) + dt if len(ticks) else 0.0,
        rate=_rate(ticks),
        missed=int(ticks["slot"][-1]) - int(ticks["slot"][0]) + 1 - len(ticks) if len(ticks) else 0,
        dropped=trace.dropped,
        lateness=ticks["lateness"].astype(np.float64),
        time=time,
        waiting=waiting,
        gaps=tuple(gaps),
        saturated=int(np.count_nonzero(ticks["saturated"])),
        ladder=ticks["ladder"],
        states=states,
        rungs=tuple(_rungs(ticks, time, states, causes)),
        outcomes=dict(named.most_common()),
        delays=executed,
        planned=planned,
        latencies=latencies(trace),
        compared=int(np.count_nonzero(~np.isnan(trace.chunks["surprise"]))),
        doubted=int(np.count_nonzero(trace.chunks["surprise"] > 1)),
        ages=_ages(ticks),
    )


def _ages(ticks: NDArray[np.void]) -> Array:
    """Of all pictures that were read, where the trace has them [s]."""
    ages = ticks["ages"].ravel().astype(np.float64) if "ages" in (ticks.dtype.names or ()) else np.zeros(0)
    return ages[~np.isnan(ages)]


def _names(trace: Trace, what: str) -> tuple[str, ...]:
    """Read the names of codes from the header."""
    names = trace.header.get(what)
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _rate(ticks: NDArray[np.void]) -> float:
    """Count ticks per second, without the time between episodes [Hz]."""
    same = np.diff(ticks["epoch"]) == 0
    seconds = float(np.diff(ticks["time"])[same].sum())
    return float(np.sum(same)) / seconds if seconds > 0 else math.nan


def _gaps(trace: Trace, time: Array) -> tuple[int, list[Gap]]:
    """Count ticks without an action before each episode's first one, and find the gaps after it."""
    waiting, gaps = 0, list[Gap]()
    answers = np.concatenate([trace.chunks, trace.parts]) if len(trace.parts) else trace.chunks
    for epoch in np.unique(trace.ticks["epoch"]):
        places = np.flatnonzero(trace.ticks["epoch"] == epoch)
        ticks, chunks = trace.ticks[places], answers[answers["epoch"] == epoch]
        held = (ticks["index"] < 0) & (ticks["event"] != STOOD)
        first = int(np.argmin(held)) if not held.all() else len(held)
        waiting += first
        edges = np.diff(np.concatenate([[0], held[first:].astype(np.int8), [0]]))
        for start, end in zip(np.flatnonzero(edges > 0) + first, np.flatnonzero(edges < 0) + first, strict=True):
            why = _why(chunks, int(ticks["step"][start]), int(ticks["step"][end - 1]) + 1)
            gaps.append(Gap(float(time[places[start]]), int(end - start), why))
    return waiting, gaps


def _why(chunks: NDArray[np.void], start: int, end: int) -> str:
    """Say what became of the answers since the last chunk before a gap, which lasts from a step to another."""
    taken = chunks["outcome"] == TAKEN
    last = chunks["arrived"][taken & (chunks["arrived"] < start)].max(initial=-1)
    since = chunks[(chunks["arrived"] > last) & (chunks["arrived"] <= end)]
    failed = dict.fromkeys(NAMES["outcomes"][code] for code in since["outcome"] if code != TAKEN)
    if failed:
        return f"what was asked for came to nothing ({', '.join(failed)})"
    if len(since) == 0:
        return "no answer came any more"
    if since["requested"][0] >= start:
        return "nothing was asked for before the actions were used up"
    return "the answer took longer than the actions lasted"


def _rungs(ticks: NDArray[np.void], time: Array, states: Sequence[str], causes: Sequence[str]) -> list[Rung]:
    def name(names: Sequence[str], code: int) -> str:
        return names[code] if code < len(names) else f"state {code}"

    return [
        Rung(
            float(time[place]),
            name(states, int(ticks["ladder"][place - 1])),
            name(states, int(ticks["ladder"][place])),
            causes[cause] if (cause := int(ticks["cause"][place])) < len(causes) else "",
        )
        for place in np.flatnonzero(np.diff(ticks["ladder"].astype(int))) + 1
    ]
