"""The documentation: its code runs, its commands exist, its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fakes.doc_pages import (
    COMMANDS,
    DOCS,
    PAGES,
    README,
    ROOT,
    TUTORIALS,
    anchors,
    blocks,
    commands,
    fenced,
    parse,
    prose,
)
from segue.cli.app import app
from segue.data.bundled import adroit_door
from segue.data.episodes import load
from segue.errors import DataError
from segue.methods.methods import METHODS, OBJECTIVES, PREDICTED, PREDICTOR, objective
from segue.training.config import TrainingConfig
from segue.training.predictor import PredictorTraining, train_predictor
from segue.training.recipe import Recipe, train_policy


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory in which `make demo` seems to have run, with a policy that has learned next to nothing."""
    monkeypatch.chdir(tmp_path)
    recipe = Recipe(updates=2, network_settings={"width": 16, "depth": 1}, training=TrainingConfig(batch=4))
    run, quiet = Path("runs/demo/seed-0"), Console(quiet=True)
    train_policy(adroit_door(), recipe, "plain", objective("plain"), run=run / PREDICTED, console=quiet)
    training = PredictorTraining(updates=2, batch=4, most_steps=8)
    train_predictor(adroit_door(), training, run=run / PREDICTED / PREDICTOR, width=8, console=quiet)


# What docs/runtime.md reads is a trace, of which tests/trace/test_file.py makes one; what docs/doors/openpi.md has is a
# server, which tests/project/test_tutorials.py starts beside its commands; the files of docs/compare.md run there too.
ELSEWHERE = ("runtime.md", "openpi.md", "compare.md")
WITH_CODE = [page for page in PAGES if page not in TUTORIALS and page.name not in ELSEWHERE and blocks(page, "python")]


@pytest.mark.pages
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
@pytest.mark.usefixtures("demo")
def test_python_of_a_page_runs_from_top_to_bottom(page: Path) -> None:
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), namespace)


def test_commands_exist_with_their_options() -> None:
    wrong = []
    for page in PAGES:
        for words in commands(page, "segue"):
            try:
                if len(words) == 1:
                    assert words[0] in COMMANDS.commands
                else:
                    parse(words)
            except Exception as error:
                wrong.append(f"{page.name}: {' '.join(words)}: {error!r}")
    assert wrong == []


def test_an_option_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parse(["train", "adroit-door", "--no-such-option"])


def test_every_command_is_in_the_documentation() -> None:
    written = {words[0] for page in PAGES for words in commands(page, "segue")}
    assert written == set(COMMANDS.commands)


def test_quick_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "data.md"
    exec(blocks(page, "python")[0], {})
    runner = CliRunner()
    checked = next(words for words in commands(page, "segue") if words[0] == "check" and len(words) > 1)
    result = runner.invoke(app, checked)
    assert result.exit_code == 0, result.output
    assert "2 episodes of 50 to 50 steps at 50 Hz" in " ".join(result.output.split())
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in OBJECTIVES)


def test_the_error_that_the_data_page_shows_is_the_one_that_comes(tmp_path: Path) -> None:
    observation = np.zeros((50, 4))
    observation[37, 1] = np.nan
    path = tmp_path / "broken.npz"
    names = ["x", "y", "goal x", "goal y"]
    action = np.zeros((50, 2))
    np.savez(path, observation=observation, action=action, episode_ends=[50], dt=0.02, observation_names=names)
    with pytest.raises(DataError) as caught:
        load(path)
    assert f"error: {caught.value}\n" in (ROOT / "docs" / "data.md").read_text()


def test_code_is_folded_to_the_width_of_the_page() -> None:
    """Commands and Python, with room for a string or a name; files of examples/ are shown as they are."""
    own = {path.name for path in (ROOT / "examples").iterdir()}
    wide = []
    for page in sorted(DOCS.rglob("*.md")):
        for block in fenced(page):
            widest = 80 if block.language == "sh" else 96
            lines = [] if block.title in own else block.code.splitlines()
            wide += [f"{page.name}: {line}" for line in lines if len(line) > widest and "width: " not in line]
    assert wide == []


def test_links_lead_to_files_and_headings() -> None:
    dead = []
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                dead.append(f"{page.name}: {target}")
    assert dead == []


def test_the_first_screen_names_both_commands() -> None:
    first_screen = "\n".join(README.read_text().splitlines()[:12])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    named = {words[0] for page in PAGES for words in commands(page, "make") if "=" not in words[0]}
    assert {"demo", "test"} <= named <= targets
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets


def test_without_a_python_for_lerobot_make_says_what_is_not_run() -> None:
    command = ["make", "test-lerobot", "LEROBOT_PYTHON="]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "skipped: no Python 3.12" in done.stdout
    assert "not run: tests/with_lerobot" in done.stdout
    assert (ROOT / "tests" / "with_lerobot").is_dir()


def test_results_that_are_shown_are_those_that_make_makes() -> None:
    makefile = (ROOT / "Makefile").read_text()
    tasks, seams = (re.findall(rf"^{name} := (.+)$", makefile, re.MULTILINE)[0] for name in ("TASKS", "SEAM_TASK"))
    rates = re.findall(r"segue rates (\S+)", makefile)
    text = "".join(page.read_text() for page in sorted((ROOT / "docs" / "results").glob("*.md")))
    opened = re.findall(r"<!-- results:(\S+) -->", text)
    assert opened == re.findall(r"<!-- /results:(\S+) -->", text)
    alone = [*tasks.split(), *(f"equal-hardware/{task}" for task in tasks.split())]
    assert sorted(opened) == sorted([*alone, f"seams/{seams}", *(f"rates/{task}" for task in rates)])


def test_the_readme_is_a_page() -> None:
    assert len(README.read_text().splitlines()) <= 150
    assert README.stat().st_size <= 10_000


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described(name: str) -> None:
    row = f"| `{name}` |"
    page = ROOT / "docs" / "methods.md"
    assert name in anchors(page)
    cost, whose = [line for line in page.read_text().splitlines() if line.startswith(row)]
    assert f"`{METHODS[name].policy}`" in cost
    assert whose.count("|") == 4
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    assert "cost" in section[1], "what it costs"
    assert len(re.findall(r"[.:](?=\s|$)", section[1])) >= 3, "three sentences"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_derived_tested_and_listed(name: str) -> None:
    """By the class of its strategy and by its paper; what works on latents stands on their page."""
    found = METHODS[name]
    derivations, latent = ((ROOT / "docs" / page).read_text() for page in ("derivations.md", "latent.md"))
    strategy = type(found.strategy).__name__
    assert f"`{strategy}" in derivations
    for paper in re.findall(r"arXiv (\d{4}\.\d{5})", found.citation):
        assert paper in derivations + latent
    tests = "".join(file.read_text() for file in (ROOT / "tests" / "strategies").glob("*.py"))
    assert re.search(rf"\b{strategy}\b", tests)
    listed = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["list"]).stdout
    assert len(re.findall(rf"^\W*{name}\s.*\b{re.escape(found.policy)}\b", listed, re.MULTILINE)) == 1


DOORS = {"segue", "segue.robot", "segue.learn", "segue.lab"}
DEEP = {  # what has no other door yet: the frames that an example takes apart
    "segue.links",
    "segue.lab.tasks.push_t_pixels",
    "segue.data.bundled",
}


def test_pages_and_examples_come_in_by_the_front_doors() -> None:
    others = []
    for page in [*PAGES, *(ROOT / "examples").glob("*.py")]:
        code = page.read_text() if page.suffix == ".py" else "\n".join(blocks(page, "python"))
        named = set(re.findall(r"^\s*from (segue[\w.]*) import", code, re.MULTILINE))
        inner = {name for name in named if not name.startswith("segue.integrations")} - DOORS - DEEP
        others += [f"{page.name}: {name}" for name in sorted(inner)]
    assert others == []
