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
from segue.trace.measures import delays, latencies, robot_spec
from segue.trace.records import DELIVERIES, EVENTS

STOOD = EVENTS.index(Event.STOOD)  # there was an action; the ladder says why it was not followed


@dataclass(frozen=True)
class Rung:
    """A change of the safety ladder's state, at a time since the first tick [s]; no cause where the trace has none."""

    time: float
    before: str
    after: str
    cause: str


@dataclass(frozen=True, eq=False)
class RunSummary:
    """Sums up the ticks and chunks of a trace.

    Attributes:
        ticks: Control ticks.
        episodes: Epochs.
        seconds: Time from the first tick to the end of the last.
        rate: Ticks per second within episodes; NaN below two ticks [Hz].
        missed: Slots of the schedule without a tick.
        dropped: Ticks and chunks that the trace had no room for.
        lateness: Shape (ticks,) [s].
        time: Shape (ticks,), since the first tick [s].
        waiting: Ticks before the first action of each episode.
        starvations: Ticks of each later gap in the actions.
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
    seconds: float
    rate: float
    missed: int
    dropped: tuple[int, int]
    lateness: Array
    time: Array
    waiting: int
    starvations: tuple[int, ...]
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
            ("as planned", self.as_planned or "–"),
            ("prediction", self._prediction()),
            *([("age of pictures", quantiles(self.ages))] if len(self.ages) else []),
            (
                "not recorded",
                "{:,} ticks, {:,} chunks: the trace was full".format(*self.dropped) if full else "nothing",
            ),
        ]

    @property
    def as_planned(self) -> str:
        """In words, whether inference took what was planned at first; empty where nothing can be compared."""
        if len(self.delays) == 0:
            return ""
        first, middle, most = int(self.planned[0]), float(np.median(self.delays)), int(self.delays.max())
        how = "slower than" if middle > first else "now and then slower than" if most > first else "as fast as"
        return f"inference is {how} planned: delay {first} planned, {middle:g} median, {most} max"

    def _prediction(self) -> str:
        if not self.compared:
            return "–"
        return (
            f"{self.doubted:,} of {_count(self.compared, 'request')} found the robot farther from its prediction than "
            "usual; their chunks were made of the observation as it was"
        )


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'s' * (number != 1)}"


def quantiles(seconds: Array) -> str:
    """Write median, 99th percentile and largest in milliseconds."""
    if len(seconds) == 0:
        return "–"
    values = 1e3 * np.quantile(seconds, (0.5, 0.99, 1.0))
    return "median {:.3g} ms, p99 {:.3g} ms, max {:.3g} ms".format(*values)


def _steps(delays: NDArray[np.int64]) -> str:
    if len(delays) == 0:
        return "–"
    return f"median {np.median(delays):g} steps, max {delays.max()}"


def summarise_run(trace: Trace) -> RunSummary:
    """Sum up a trace; raises `DataError` where its header does not name the robot."""
    ticks, dt = trace.ticks, robot_spec(trace).dt
    time = ticks["time"] - ticks["time"][0] if len(ticks) else np.zeros(0)
    states, causes = _names(trace, "ladder"), _names(trace, "causes")
    waiting, starvations = _gaps(ticks)
    executed, planned = delays(trace)
    named = Counter(
        "given up" if (each := DELIVERIES[code]) is None else each.value for code in trace.chunks["outcome"]
    )
    return RunSummary(
        ticks=len(ticks),
        episodes=len(np.unique(ticks["epoch"])),
        seconds=float(time[-1]) + dt if len(ticks) else 0.0,
        rate=_rate(ticks),
        missed=int(ticks["slot"][-1]) - int(ticks["slot"][0]) + 1 - len(ticks) if len(ticks) else 0,
        dropped=trace.dropped,
        lateness=ticks["lateness"].astype(np.float64),
        time=time,
        waiting=waiting,
        starvations=tuple(starvations),
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


def _gaps(ticks: NDArray[np.void]) -> tuple[int, list[int]]:
    """Count ticks without an action before each episode's first one, and measure the gaps after it."""
    waiting, gaps = 0, []
    for epoch in np.unique(ticks["epoch"]):
        held = (ticks["index"] < 0)[ticks["epoch"] == epoch] & (ticks["event"] != STOOD)[ticks["epoch"] == epoch]
        first = int(np.argmin(held)) if not held.all() else len(held)
        waiting += first
        edges = np.diff(np.concatenate([[0], held[first:].astype(np.int8), [0]]))
        gaps += (np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)).tolist()
    return waiting, gaps


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
