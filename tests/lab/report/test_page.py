import csv
import importlib
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from fakes import summaries
from segue.core.metrics import METRICS
from segue.core.seams import seam_jump
from segue.errors import DataError, MissingExtraError
from segue.lab.report.executed import Executed
from segue.lab.report.html import columns
from segue.lab.report.page import MOST
from segue.lab.report.page import write_report as written
from segue.lab.report.video import CELL, side_by_side
from segue.lab.results import TaskFacts

DT, HORIZON, STEPS = 0.05, 24, 160
DELAYS = (0, 2, 4, 6)
METHODS = {  # name: label, jump at seams, jerk, success without delay, success lost per step of delay
    "legato": ("Legato", 0.08, 1.3, 0.9, 0.01),
    "rtc": ("RTC", 0.15, 1.8, 0.88, 0.03),
    "naive": ("Naive <async>", 0.6, 5.0, 0.92, 0.09),
}


def synthetic_results() -> dict[str, Any]:
    """A comparison as `segue eval` writes it, drawn from a seeded generator."""
    generator = np.random.default_rng(7)
    methods = [
        {
            "name": name,
            "label": label,
            "policy": name,
            "settings": {"gain": 0.5},
            "citation": "arXiv 2602.12978",
            "default": name == "legato",
        }
        for name, (label, *_) in METHODS.items()
    ]
    places = [(name, delay, run) for name in METHODS for delay in DELAYS for run in (0, 1)]
    return {
        "schema": 1,
        "title": "Smoothness and success on the door",
        "command": "segue eval --task adroit-door --methods legato,rtc,naive",
        "created": "2026-03-01T12:00:00+00:00",
        "commit": "0123456789abcdef",
        "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
        "machine": "2 cores",
        "task": {
            "name": "adroit-door",
            "summary": "",
            "dt": DT,
            "horizon": HORIZON,
            "action_names": ["shoulder", "elbow", "wrist", "finger"],
            "command": "position",
            "max_steps": 200,
        },
        "demonstrations": {"jerk_measured": 1.5, "nsparc": 4.0, "nldlj": 9.0, "jerk_command": None, "hesitation": 0.03},
        "budget": {"updates": 20000, "batch": 128},
        "methods": methods,
        "cells": [_cell(generator, *place) for place in places],
        "traces": [_trace(generator, *place, seed) for place in places if place[2] == 0 for seed in (1000, 1001)]
        + [_trace(generator, "demonstrations", 0, 0, seed) for seed in range(4)],
    }


def _cell(generator: np.random.Generator, name: str, delay: int, run: int) -> dict[str, Any]:
    _, jump, jerk, base, loss = METHODS[name]
    episodes = 20
    success = generator.random(episodes) < base - loss * delay
    time = np.where(success, generator.gamma(30, 0.1, episodes) + 0.2 * delay * jump, 10.0)
    factor = generator.lognormal(0, 0.15, episodes)
    values = dict.fromkeys(METRICS, factor) | {
        "success": success.astype(float),
        "score": np.maximum(success, 0.4 * generator.random(episodes)),
        "completion_time": time,
        "jerk_measured": jerk * (1 + 0.1 * delay) * factor,
        "seam_jump": jump * factor,
        "mode_switches": generator.poisson(1 + delay * jump, episodes).astype(float),
        "hesitation": 0.1 * jump * factor,
        "surprising": np.minimum(0.1 * factor, 1),
    }
    columns: dict[str, list[float | None]] = {metric: [float(value) for value in values[metric]] for metric in METRICS}
    columns["seam_ratio"] = [None, *columns["seam_ratio"][1:]]
    return summaries.cell(name, delay, columns, run, first_seed=1000)


def _trace(generator: np.random.Generator, name: str, delay: int, run: int, seed: int) -> dict[str, Any]:
    """Slow waves, with an offset of its own for every chunk."""
    jump = METHODS[name][1] if name in METHODS else 0.0
    seams = list(range(8, STEPS, 8)) if name in METHODS else []
    time = DT * np.arange(STEPS)[:, None]
    waves = np.sin(2 * np.pi * np.array([0.3, 0.5, 0.8, 0.2]) * time + generator.normal(0, 0.3, 4))
    offsets = np.repeat(generator.normal(0, jump, (STEPS // 8, 4)), 8, axis=0)
    commands = waves + offsets + generator.normal(0, 0.004, waves.shape)
    scale = commands.std(axis=0)
    jumps = {step: seam_jump(commands, step, scale) for step in seams}
    return {
        "method": name,
        "delay": delay,
        "training_seed": run,
        "seed": seed,
        "commands": commands.round(5).tolist(),
        "measured": waves[:, :3].round(5).tolist(),
        "seams": seams,
        "worst_seam": max(jumps, key=lambda step: jumps[step], default=None),
    }


def write_report(content: dict[str, Any], path: Path, videos: dict[str, bytes] | None = None) -> Path:
    return written(summaries.decoded(content), path, videos)


def film(frames: int = 5) -> bytes:
    shades = {"Legato": 40, "RTC": 120}
    return side_by_side(
        {label: [np.full((30, 40, 3), shade + i, np.uint8) for i in range(frames)] for label, shade in shades.items()},
        fps=10,
    )


class Page(HTMLParser):
    """Collects what a page refers to and defines."""

    void = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.void:
            self.open.append(tag)
        self.handle_starttag(tag if tag in self.void else "br", attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads(json.dumps(synthetic_results()))


@pytest.fixture(scope="module")
def folder(results: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    page = folder / "report.html"
    assert write_report(results, page, {"Episode 1000": film()}) == page
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(html: str) -> None:
    links = Page(html).links
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"@import|url\((?!#)|<script|<link", html)


def test_tags_close_and_ids_are_unique(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_every_reference_inside_a_drawing_resolves(html: str) -> None:
    page = Page(html)
    wanted = set(re.findall(r"url\(#([^)]+)\)", html)) | {link[1:] for link in page.links if link.startswith("#")}
    assert wanted
    assert wanted <= set(page.ids)


def test_the_page_is_small(folder: Path) -> None:
    assert (folder / "report.html").stat().st_size < 3_000_000


def test_drawings_follow_the_page_and_their_panels_are_all_there(html: str, results: dict[str, Any]) -> None:
    assert "#010203" not in html
    assert "currentColor" in html
    for delay in DELAYS:
        assert f"Success, delay {delay}" in html
    assert html.count("Executed actions: ") == len(METHODS)
    assert html.count("Worst seam: ") == len(METHODS)
    assert html.count('aria-label="Power spectrum') == 2
    assert html.count('<div class="grid" style="--columns:4">') >= len(DELAYS) // 2


def test_the_first_picture_shows_the_default_beside_naive_execution(
    html: str, results: dict[str, Any], tmp_path: Path
) -> None:
    first = html.index('aria-label="Success under delay against inference delay"')
    assert html.index("With 6 steps of delay (300 ms), Legato succeeds") < html.index("Who wins where") < first
    assert first < html.index("<h2>Results</h2>")
    others = {**results, "methods": [each for each in results["methods"] if each["name"] != "naive"]}
    others["cells"] = [cell for cell in results["cells"] if cell["method"] != "naive"]
    others["traces"] = [trace for trace in results["traces"] if trace["method"] != "naive"]
    without = write_report(others, tmp_path / "without.html").read_text(encoding="utf-8")
    assert "under delay" not in without


def test_every_metric_is_explained(html: str) -> None:
    text = Page(html).text
    for metric in METRICS.values():
        assert f"{metric.meaning}; {metric.better} is better" in text or metric.better == "none"
        assert metric.formula in text
        assert metric.source in text


def test_labels_are_escaped(html: str) -> None:
    assert "<async>" not in html
    assert "Naive &lt;async&gt;" in html


def test_provenance_is_complete(html: str, results: dict[str, Any]) -> None:
    text = Page(html).text
    for name in ("command", "commit", "machine", "created"):
        assert results[name] in text
    assert "torch 2.13.0" in text
    assert "updates 20000" in text


def test_the_csv_has_every_episode(folder: Path, results: dict[str, Any]) -> None:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(cell["episodes"]["seed"]) for cell in results["cells"])
    first = results["cells"][0]
    assert float(rows[0]["jerk_measured"]) == first["episodes"]["jerk_measured"][0]
    assert rows[0]["seam_ratio"] == ""
    assert set(METRICS) < set(rows[0])


def test_the_page_is_the_same_every_time(results: dict[str, Any], tmp_path: Path) -> None:
    short = {**results, "cells": [cell for cell in results["cells"] if cell["delay"] == 2], "traces": []}
    first, second = (write_report(short, tmp_path / f"{name}.html").read_bytes() for name in ("one", "two"))
    assert first == second


def test_a_bare_comparison_has_its_tables(results: dict[str, Any], tmp_path: Path) -> None:
    bare = {name: value for name, value in results.items() if name not in ("traces", "demonstrations", "budget")}
    bare["cells"] = [cell for cell in results["cells"] if cell["delay"] == 2]
    text = write_report(bare, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Who wins where" in text
    assert "<h2>Worst seam</h2>" not in text
    assert "<img" not in text


def test_cells_that_are_not_there_are_shown_as_missing(results: dict[str, Any], tmp_path: Path) -> None:
    absent = [("rtc", 4, 0), ("rtc", 4, 1), ("naive", 2, 1)]
    places = {(cell["method"], cell["delay"], cell["training_seed"]): cell for cell in results["cells"]}
    named = [{"method": name, "delay": delay, "training_seed": run} for name, delay, run in absent]
    kept = [cell for place, cell in places.items() if place not in {*absent, ("legato", 6, 0), ("legato", 6, 1)}]
    page = write_report({**results, "cells": kept, "missing": named, "traces": []}, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "3 of 22 cells are missing" in text
    assert "<small>2 runs missing</small>" in text
    assert "1 run missing</small>" in text
    assert "–<small>not measured</small>" in text


def test_of_many_methods_those_are_drawn_that_win(results: dict[str, Any], tmp_path: Path) -> None:
    """Beside the default and the one that does nothing, whether they win or not."""
    cells = [cell for cell in results["cells"] if cell["delay"] == 2 and cell["training_seed"] == 0]
    slow = {**cells[0]["episodes"], "completion_time": [9.0] * 20, "jerk_measured": [99.0] * 20, "success": [0.0] * 20}
    names = [f"slow-{number}" for number in range(MOST + 1)]
    traces = [trace for trace in results["traces"] if trace["delay"] == 2 and trace["seed"] == 1000]
    many = {
        "methods": [{"name": name, "label": name} for name in names] + results["methods"],
        "cells": [{**cells[0], "method": name, "episodes": slow} for name in names] + cells,
        "traces": [{**traces[0], "method": name} for name in names] + traces,
    }
    text = write_report({**results, **many}, tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("Executed actions: ") == MOST
    assert f"Of {MOST + 4} methods" in text
    captions = re.findall(r"</svg>([^<]*) <span class=\"note\">19 seams", text)
    assert {"Legato", "RTC", "Naive &lt;async&gt;"} < set(captions)


@pytest.mark.parametrize("count", range(1, 30))
def test_no_panel_is_left_alone_in_the_last_row_where_that_can_be_helped(count: int) -> None:
    chosen = columns(count)
    assert 1 <= chosen <= 4
    assert (
        count % chosen != 1 or chosen == 1 or all(count % other == 1 for other in range(2, min(count, 4)) if other != 2)
    )


def test_a_method_that_never_succeeds_is_drawn(results: dict[str, Any], tmp_path: Path) -> None:
    cells = [
        {**cell, "episodes": {**cell["episodes"], "success": [0.0] * 20, "seam_jump": [None] * 20}}
        for cell in results["cells"]
        if (cell["method"], cell["delay"]) in (("legato", 0), ("naive", 0), ("naive", 2))
    ]
    assert write_report({**results, "cells": cells, "traces": []}, tmp_path / "report.html").exists()


def test_one_episode_of_one_run_is_drawn_without_intervals(results: dict[str, Any], tmp_path: Path) -> None:
    cells = [
        {**cell, "episodes": {name: column[:1] for name, column in cell["episodes"].items()}}
        for cell in results["cells"]
        if cell["training_seed"] == 0 and cell["delay"] in (0, 6)
    ]
    page = write_report({**results, "cells": cells, "traces": []}, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "against measured jerk" in page.lower()


def test_an_episode_of_one_chunk_has_no_close_up(results: dict[str, Any], tmp_path: Path) -> None:
    cells = [cell for cell in results["cells"] if cell["delay"] == 6]
    traces = [{**trace, "seams": [], "worst_seam": 0} for trace in results["traces"] if trace["delay"] == 6]
    page = write_report({**results, "cells": cells, "traces": traces}, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert "Executed actions: " in text
    assert "Worst seam: " not in text


def test_other_schemas_are_refused_before_anything_is_written(results: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="schema"):
        write_report({**results, "schema": 2}, tmp_path / "out" / "report.html")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "package"), [("figures", "matplotlib"), ("executed", "matplotlib"), ("html", "jinja2"), ("video", "PIL")]
)
def test_a_missing_package_is_named(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"segue.lab.report.{module}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"'\.\[report\]'"):
        importlib.import_module(f"segue.lab.report.{module}")


def test_displacements_become_a_path_without_the_gripper() -> None:
    commands = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    executed = Executed(commands, (), None)
    kinds = {"action_names": ["x", "gripper"], "action_kinds": ["displacement", "gripper"]}
    task = msgspec.convert({**summaries.TASK, **kinds, "command": "velocity"}, TaskFacts)
    assert executed.path(np.ones(2), task).tolist() == [[1.0], [3.0], [6.0]]
    assert executed.jump(np.ones(2)) == 0
    assert executed.steps(np.ones(2)).tolist() == [0, 0]


def test_the_film_keeps_real_time_and_shows_all_methods() -> None:
    lengths = {"a": 61, "b": 20}
    frames = {name: [np.full((20, 40, 3), 3 * i, np.uint8) for i in range(n)] for name, n in lengths.items()}
    with Image.open(io.BytesIO(side_by_side(frames, fps=50))) as image:
        assert image.format == "WEBP"
        assert image.width == 2 * CELL
        duration = 0.0
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            duration += image.info["duration"]
    assert duration == pytest.approx(1000 * 61 / 50, rel=0.1)


@pytest.mark.parametrize(
    "frames",
    [{}, {"a": []}, {"a": [np.zeros((4, 4), np.uint8)]}, {"a": [np.zeros((4, 4, 3), np.float32)]}],
)
def test_a_film_without_pictures_is_refused(frames: dict[str, list[Any]]) -> None:
    with pytest.raises(DataError):
        side_by_side(frames, fps=10)
