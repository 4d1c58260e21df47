"""One page that shows a comparison: a self-contained HTML file, with every episode as CSV beside it."""

import base64
import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segue.core.metrics import METRICS
from segue.lab.report import executed, figures, tables
from segue.lab.report.executed import Executed, Place
from segue.lab.report.figures import Array, Curve, Point, Svg
from segue.lab.report.html import write_page
from segue.lab.report.table import HEADLINE, episode_rows, facts, head, provenance, summarise, unit
from segue.lab.report.verdict import PLAIN, headline
from segue.lab.results import DEMONSTRATIONS, MethodFacts, Results
from segue.lab.statistics import CONFIDENCE, pareto_front

AT_FIRST = ("success", "mode_switches", "seam_jump")
MOST = 12
"""Methods whose executed actions are drawn; of more, nobody compares pictures."""
AGAINST_DELAY = ("success", "completion_time", "jerk_measured", "seam_jump", "mode_switches", "hesitation")


def write_report(results: Results, path: Path, videos: Mapping[str, Path | bytes] | None = None) -> Path:
    """Write the page, and ``results.csv`` beside it.

    Args:
        results: The comparison.
        path: The HTML file; its folder is made if it does not exist.
        videos: Title to animated WebP, as a file or as bytes; they become part of the page.

    Returns:
        ``path``.

    Raises:
        DataError: Results of another schema, or without cells.
    """
    films = [{"title": title, "source": _embedded(video)} for title, video in (videos or {}).items()]
    write_page(path, "report.html.j2", videos=films, **_Drawn(results).blocks())
    rows = list(episode_rows(results))
    with path.with_name("results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


class _Drawn:
    """A comparison, its summary, and the looks of its methods, which all of the page's drawings share."""

    def __init__(self, results: Results) -> None:
        self.results, self.task, self.summary = results, results.task, summarise(results)
        self.methods = {each.name: each for each in results.methods}
        self.looks = figures.looks(list(self.methods))

    def blocks(self) -> dict[str, Any]:
        """All that the template shows."""
        summary = self.summary
        delayed = summary.default not in (None, PLAIN) and PLAIN in summary.labels and max(summary.delays) > 0
        trades = [name for name in ("success", "completion_time") if {name, "jerk_measured"} <= set(summary.metrics)]
        return {
            "title": self.results.title,
            "facts": facts(self.results, summary),
            "headline": headline(summary),
            "missing": self._missing(),
            # What delay does to a policy alone, and under the default method
            "difference": [
                self._curve(metric, (PLAIN, summary.default or ""), f"{METRICS[metric].label} under delay")
                for metric in AT_FIRST
                if delayed and metric in summary.metrics
            ],
            "level": f"{CONFIDENCE:.0%}".replace("%", " %"),
            "delays": summary.delays,
            "milliseconds": {delay: f"{1000 * delay * self.task.dt:.0f} ms" for delay in summary.delays},
            "plain": PLAIN,
            "methods": self.results.methods,
            "symbols": {name: figures.swatch(look) for name, look in self.looks.items()},
            **tables.tables(summary, self.methods),
            "frontier": [self._frontiers(metric) for metric in trades],
            "curves": [
                self._curve(metric, summary.labels, METRICS[metric].label)
                for metric in AGAINST_DELAY
                if metric in summary.metrics
            ],
            "completion": [self._completion(delay) for delay in summary.delays],
            **self._executed(),
            "provenance": provenance(self.results, summary),
        }

    def _missing(self) -> str:
        absent = len(self.results.missing or ())
        total = absent + len(self.results.cells)
        return f"{absent} of {total} cells are missing, and shown as missing: who wins may change." if absent else ""

    def _drawn_of(self, recorded: set[str]) -> set[str]:
        """The methods whose actions are drawn: the default, the one that does nothing, the most often best."""
        firsts = [self.summary.best(delay, metric) for delay in self.summary.delays for metric in HEADLINE]
        known, names = (self.summary.default, PLAIN), [name for name in self.methods if name in recorded]
        return {*sorted(names, key=lambda name: (name not in known, -firsts.count(name)))[:MOST]}

    def _frontiers(self, metric: str) -> list[Svg]:
        """Success or completion time against measured jerk, one panel per delay, on common axes."""
        cells = {
            (name, delay): tuple(self.summary.interval(name, delay, axis) for axis in ("jerk_measured", metric))
            for name in self.methods
            for delay in self.summary.delays
        }
        cells = {key: pair for key, pair in cells.items() if not any(math.isnan(cell.value) for cell in pair)}
        if not cells:
            return []
        # One episode has a mean and no interval: the mean alone then says how far the axes go.
        reach = np.array([[(axis.low, axis.value, axis.high) for axis in pair] for pair in cells.values()])
        (left, bottom), (right, top) = np.nanmin(reach, axis=(0, 2)), np.nanmax(reach, axis=(0, 2))
        margin = max(0.08 * (top - bottom), 1e-3)
        limits = [left / 1.2, right * 1.2] if right > 10 * left > 0 else [0.0, right * 1.08]
        higher = METRICS[metric].better == "higher"
        limits += [bottom - margin, top + margin] if higher else [top + margin, bottom - margin]
        panels = []
        for delay in self.summary.delays:
            here = {name: pair for (name, at), pair in cells.items() if at == delay}
            values = np.array([[x.value, y.value] for x, y in here.values()]).reshape(-1, 2)
            front = pareto_front(values, ("lower", "higher" if higher else "lower"))
            points = [
                Point(self.looks[name], x, y, bool(outlined))
                for (name, (x, y)), outlined in zip(here.items(), front, strict=True)
            ]
            title = f"{METRICS[metric].label}, delay {delay}"
            axes = {"x_label": head("jerk_measured"), "y_label": head(metric)}
            panels.append(figures.frontier(points, title=title, limits=limits, **axes))
        return panels

    def _curve(self, metric: str, names: Iterable[str], title: str) -> Svg:
        """A metric of some methods against the delay."""
        lines = []
        for name in names:
            cells = {delay: self.summary.interval(name, delay, metric) for delay in self.summary.delays}
            delays = [delay for delay, cell in cells.items() if not math.isnan(cell.value)]
            values = np.array([[cells[d].value, cells[d].low, cells[d].high] for d in delays]).reshape(-1, 3)
            lines.append(Curve(self.looks[name], np.array(delays, float), *values.T))
        return figures.curves(
            lines, title=title, y_label=unit(metric) or ("share" if metric in ("success", "hesitation") else ""),
            reference=self.summary.demonstrations.get(metric), unit_interval=metric == "success",
        )  # fmt: skip

    def _completion(self, delay: int) -> Svg:
        lines, samples = [], self.summary.samples
        for name, look in self.looks.items():
            success, time = (samples.get((name, delay, metric)) for metric in ("success", "completion_time"))
            if success is not None and time is not None:
                done = np.sort(time.values[success.values == 1])
                lines.append(Curve(look, done, np.arange(1, len(done) + 1) / len(success.values)))
        return figures.completion(lines, title=f"Delay {delay}", end=self.task.max_steps * self.task.dt)

    def _executed(self) -> dict[str, Any]:
        """What the recorded episodes show at the longest delay: actions, worst seams, and spectra."""
        recorded = executed.recorded(self.results)
        own = {place: each for place, each in recorded.items() if place[0] in self.methods}
        if not own:
            return {"executed": [], "close_ups": [], "spectra": []}
        scale = np.concatenate([each.commands for each in own.values()]).std(axis=0)
        drawn = self._drawn_of({name for name, *_ in own})
        own = {place: each for place, each in own.items() if place[0] in drawn}
        longest = max(delay for _, delay, _ in own)
        here = {(name, seed): each for (name, delay, seed), each in own.items() if delay == longest}
        worst = {}
        for name in self.methods:
            theirs = [(each.jump(scale), seed[1], each) for (by, seed), each in here.items() if by == name]
            found = max(theirs, key=lambda each: each[0], default=None)
            if found and found[2].worst is not None:
                worst[name] = found
        # One episode that as many methods as possible have a trace of
        seeds = sorted({seed for _, seed in here})
        seed = max(seeds, key=lambda seed: len([name for name, at in here if at == seed]))
        episode = {name: here[name, seed] for name in self.methods if (name, seed) in here}
        size = np.max(
            [each.steps(scale) for each in (*(each for *_, each in worst.values()), *episode.values())], axis=0
        )
        names, dt = self.task.action_names, self.task.dt
        note = f"Delay {longest}, training seed {seed[0]}, episode seed {seed[1]}."
        if len(self.methods) > MOST:
            note += f" Of {len(self.methods)} methods, {len(drawn)}: default, naive, and the most often best."
        if len(size) > executed.ROWS:
            note += f" Of {len(size)} action dimensions, the {executed.ROWS} with the largest steps at worst seams."
        seams = {name: f"{len(each.seams)} seams in {len(each.commands) * dt:.1f} s" for name, each in episode.items()}
        jumps = {name: f"episode seed {at}, jump {jump:.2f} std" for name, (jump, at, _) in worst.items()}
        shown = {name: each for name, (*_, each) in worst.items()}
        close = executed.close_ups(shown, scale, looks=self.looks, names=names, y_label="action [std]")
        return {
            "executed": self._items(seams, executed.panels(episode, size, looks=self.looks, names=names, dt=dt)),
            "executed_note": note,
            "close_ups": self._items(jumps, close),
            **self._spectra(recorded, scale),
        }

    def _items(self, notes: Mapping[str, str], drawn: Mapping[str, Svg]) -> list[tuple[MethodFacts, str, Svg]]:
        return [(self.methods[name], notes[name], svg) for name, svg in drawn.items()]

    def _spectra(self, recorded: Mapping[Place, Executed], scale: Array) -> dict[str, Any]:
        """The commanded velocity's spectrum at the smallest and the largest recorded delay."""
        paths: dict[tuple[str, int], list[Array]] = {}
        for (name, delay, _), each in recorded.items():
            paths.setdefault((name, delay), []).append(each.path(scale, self.task))
        means = {place: figures.mean_spectrum(each, self.task.dt) for place, each in paths.items()}
        reference = means.get((DEMONSTRATIONS, 0))
        delays = sorted({delay for name, delay in means if name in self.looks})
        panels = []
        for delay in sorted({delays[0], delays[-1]}):
            lines = [Curve(look, *means[name, delay]) for name, look in self.looks.items() if (name, delay) in means]
            panels.append(figures.spectrum(lines, reference, title=f"Delay {delay}", y_label="power [(std/s)²/Hz]"))
        return {"spectra": panels, "demonstrated": reference is not None}


def _embedded(video: Path | bytes) -> str:
    data = video if isinstance(video, bytes) else video.read_bytes()
    return "data:image/webp;base64," + base64.b64encode(data).decode()
