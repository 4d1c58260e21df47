"""The site: its pictures are what the code draws, its hook leads links where they go, its navigation is whole."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.doc_pages import COMMANDS, DOCS, ROOT

PICTURES = runpy.run_path(str(DOCS / "_site" / "pictures.py"))
NAVIGATION = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]


@pytest.fixture(scope="module")
def hooks() -> dict[str, Any]:
    pytest.importorskip("mkdocs")
    pytest.importorskip("latex2mathml")
    return runpy.run_path(str(DOCS / "_site" / "hooks.py"))


def test_pictures_are_those_that_the_script_draws_and_pages_show(tmp_path: Path) -> None:
    drawn = {path.name for path in PICTURES["draw"](tmp_path)}
    kept = {path.name for path in (DOCS / "pictures").iterdir()}
    trained = {"same_seed.webp", "curve.svg"}  # which film.py and curve.py make, of what was trained
    measured = {name for name in kept if name.startswith(("frontier-", "growth"))}  # the script of that name draws it
    assert drawn == kept - trained - measured
    shown = re.findall(r"\]\(pictures/(\S+)\)", "".join(page.read_text() for page in DOCS.glob("*.md")))
    assert kept == set(shown)


@pytest.mark.parametrize("name", list(PICTURES["PICTURES"]))
def test_a_picture_is_small_and_of_the_same_marks_as_the_committed_one(name: str, tmp_path: Path) -> None:
    """Versions of the library that draws differ in letters and digits, not in what is drawn."""
    [path] = PICTURES["draw"](tmp_path, [name])
    kept = (DOCS / "pictures" / path.name).read_text()
    assert len(kept) < 100_000
    marks = [re.findall(r'<use |id="line2d_\d+"', text) for text in (kept, path.read_text())]
    assert marks[0] == marks[1]


def test_the_exact_policy_does_what_the_page_says() -> None:
    """Naive execution changes sides, the mean meets the obstacle, a hard prefix stays on the side that was begun."""
    ways, continued = PICTURES["ways"], PICTURES["continued"]
    old, torch = ways(0)[0], PICTURES["torch"]
    draws = [torch.randn((1, 32, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
             for seed in range(20)]  # fmt: skip
    noise = next(draw for draw in draws if continued(PICTURES["Naive"](), old, draw, 8, 0.05)[12] < -0.05)
    naive, hard = (continued(PICTURES[name](), old, noise, 8, 0.05) for name in ("Naive", "TrainingTimeRTC"))
    mean = continued(PICTURES["TemporalEnsembling"](), old, noise, 8, 0.05)
    np.testing.assert_allclose(naive, ways(8)[1, :, 0], atol=1e-6)
    np.testing.assert_allclose(hard, ways(8)[0, :, 0], atol=1e-6)
    assert abs(mean[12]) < 0.02


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    entries = re.findall(r"([\w/-]+\.md)$", NAVIGATION, re.MULTILINE)
    assert len(entries) == len(set(entries))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    notebooks = {f"notebooks/{path.stem}.md" for path in (DOCS / "notebooks").glob("*.ipynb")}
    assert pages | notebooks <= set(entries)
    made = {"changelog.md", "contributing.md", "security.md"}
    assert {name for name in entries if not name.startswith("reference/")} == pages | notebooks | made


def test_the_reference_has_a_page_for_every_floor(hooks: dict[str, Any]) -> None:
    entries = set(re.findall(r"reference/(\w+)\.md", NAVIGATION))
    floors = {path.name for path in (ROOT / "src" / "segue").iterdir() if (path / "__init__.py").is_file()}
    assert entries == {"index", "commands", *hooks["FLOORS"]}
    assert hooks["FLOORS"].keys() == floors - {"cli"}  # what the command line does is no interface
    assert "::: segue.plan.plan" in hooks["reference"]("plan")


def test_the_page_of_commands_has_the_help_of_each(hooks: dict[str, Any]) -> None:
    page = hooks["commands"]()
    assert re.findall(r"^## segue (\S+)$", page, re.MULTILINE) == list(COMMANDS.commands)
    assert page.count("Usage: segue ") == page.count("  segue ") == len(COMMANDS.commands)
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize(
    ("source", "link", "leads_to"),
    [
        ("runtime.md", "[safe](../SECURITY.md#who)", "[safe](security.md#who)"),
        ("tutorials/serve_a_policy.md", "[top](../../README.md)", "[top](../index.md)"),
        ("tutorials/serve_a_policy.md", "[data](../data.md#yours)", "[data](../data.md#yours)"),
        ("index.md", "[look](notebooks/your_data.ipynb)", "[look](notebooks/your_data.md)"),
        ("contributing.md", "[one](examples/04_write_a_strategy.py)", "one"),
        ("results/seams.md", "[knobs](../tuning.md)", "[knobs](../tuning.md)"),
        ("index.md", "[paper](https://arxiv.org/abs/2602.12978)", "[paper](https://arxiv.org/abs/2602.12978)"),
    ],
)
def test_links_lead_to_the_same_place_on_the_site(hooks: dict[str, Any], source: str, link: str, leads_to: str) -> None:
    [(text, target)] = hooks["LINK"].findall(link)
    assert hooks["_link"](text, target, source) == leads_to


def test_formulas_become_mathml_and_code_stays(hooks: dict[str, Any]) -> None:
    html = '<p><span class="arithmatex">\\(w_j &lt; 1\\)</span> and <code>$x$</code></p>'
    shown = hooks["on_page_content"](html, None, None, None)
    assert "<math" in shown
    assert "arithmatex" not in shown
    assert shown.count("<") == shown.count(">")
    assert "<code>$x$</code>" in shown


def test_code_in_a_sentence_may_be_folded_between_settings_and_a_block_may_not(hooks: dict[str, Any]) -> None:
    block = "<pre><span></span><code>a:b,c</code></pre>"
    shown = hooks["on_page_content"](f"<p><code>naive:scale=0.7,rtc</code></p>{block}", None, None, None)
    assert shown == f"<p><code>naive:<wbr>scale=0.7,<wbr>rtc</code></p>{block}"


def test_a_notebook_becomes_a_page(hooks: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    said = {"output_type": "stream", "text": ["one\n", "  two\n"]}
    drawn = {"output_type": "display_data", "data": {"image/png": "AAAA"}}
    cells = [
        {"cell_type": "markdown", "source": ["# One\n", "\n", "text"]},
        {"cell_type": "code", "source": ["x = 1"], "outputs": [said, drawn]},
    ]
    path.write_text(json.dumps({"cells": cells}))
    page = hooks["notebook"](path)
    assert page.startswith("# One")
    assert "```python\nx = 1\n```" in page
    assert "one.ipynb" in page
    shown = page.partition("x = 1\n```")[2]
    assert "\none\n  two\n```" in shown
    assert 'src="data:image/png;base64,AAAA"' in shown
