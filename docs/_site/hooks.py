"""What the site generator does not do by itself.

    repository                      site
    CHANGELOG, CONTRIBUTING, ...    changelog.md, contributing.md, ...
    docs/notebooks/*.ipynb          notebooks/*.md
    src/segue/<floor>/*.py          reference/<floor>.md
    src/segue/cli/*.py              reference/commands.md
    $formulas$                      MathML, so that no script has to be fetched
    `long:settings,of=methods`      may be folded behind : , and /

Nothing is written into docs/: these pages exist in the build only.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "segue"
OF_THE_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
FLOORS = {
    "core": "Chunks, observations, kinds of dimensions, robots, seams, smoothness, measures",
    "plan": "Which action is due, and when the next chunk is asked for",
    "safety": "Limits, braking, and what is done when there is nothing to send",
    "links": "Policies in processes of their own and on servers",
    "trace": "What happened: recorded, replayed, measured",
    "runtime": "The executor: ticks on a clock, inference beside them",
    "strategies": "One paper per file: how it continues, and how it is trained; the one sampler, schedule weights",
    "data": "Demonstrations: episodes, windows, readers and writers",
    "policies": "Networks, families of policies, autoencoders, predictors",
    "training": "The loop, the recipe, checkpoints",
    "methods": "A method by its name on a trained policy",
    "integrations": "Other libraries' data, policies and runtimes",
    "lab": "Simulators, rollouts in virtual time, statistics, comparisons, reports",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(?<!</span>)<code>([^<\n]*)</code>")  # in a sentence or a table, not a block
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that come from elsewhere in the repository."""

    def add(name: str, content: str) -> None:
        files.append(File.generated(config, name, content=content))

    for name, page in OF_THE_ROOT.items():
        add(page, (ROOT / name).read_text())
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        add(f"notebooks/{path.stem}.md", notebook(path))
    add("reference/index.md", reference_index())
    add("reference/commands.md", commands())
    for floor in FLOORS:
        add(f"reference/{floor}.md", reference(floor))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave docs/ to where their target is on the site; unlink what is not on it."""
    if page.file.src_uri.startswith("results/"):
        page.meta["hide"] = ["toc"]  # its tables need the room
    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(lambda found: _link(found[1], found[2], page.file.src_uri), part) for part in parts[::2]]
    return "".join(parts)


def on_page_content(html_: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML; code that a narrow column folds where a reader would."""

    def formula(found: re.Match[str]) -> str:
        return convert(html.unescape(found[3]).strip(), display="inline" if found[2] == "(" else "block")

    folded = CODE.sub(lambda found: "<code>" + re.sub(r"([:,/])", r"\1<wbr>", found[1]) + "</code>", html_)
    return FORMULA.sub(formula, folded)


def _link(text: str, target: str, source: str) -> str:
    name, _, anchor = target.partition("#")
    if "://" in target or not name:
        return f"[{text}]({target})"
    # Pages that come from the root link as if they stood there.
    from_root = source in OF_THE_ROOT.values()
    path = (ROOT / name if from_root else (ROOT / "docs" / source).parent / name).resolve()
    up = "../" * source.count("/")
    anchor = f"#{anchor}" if anchor else ""
    if path == ROOT / "README.md":
        return f"[{text}]({up}index.md)"
    if path.name in OF_THE_ROOT and path.parent == ROOT:
        return f"[{text}]({up}{OF_THE_ROOT[path.name]}{anchor})"
    if path.suffix == ".ipynb":
        path = path.with_suffix(".md")
    if path.is_relative_to(ROOT / "docs") and path.suffix:
        return f"[{text}]({up}{path.relative_to(ROOT / 'docs').as_posix()}{anchor})"
    return text  # source files and folders are in the repository, not on the site


def notebook(path: Path) -> str:
    """A notebook's cells as Markdown, each with what came out of it."""
    content: dict[str, Any] = json.loads(path.read_text())
    parts: list[str] = []
    for cell in content["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += map(_output, cell.get("outputs", []))
    title, *rest = parts
    return "\n\n".join([title, f"*The notebook itself: `docs/notebooks/{path.name}`.*", *rest])


def _output(output: dict[str, Any]) -> str:
    if "data" in output:
        return f'<p><img alt="What the cell above draws" src="data:image/png;base64,{output["data"]["image/png"]}"></p>'
    text = "".join(output["text"]).strip("\n")
    return f"```{{ .text .output }}\n{text}\n```"


def modules(floor: str) -> list[str]:
    """Modules of a floor with something public in them, by dotted name."""
    found = []
    for path in sorted((PACKAGE / floor).rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        public = re.search(r"^(?:class|def|async def) [a-zA-Z]|^[A-Z_a-z]+(?:: .*)? = ", path.read_text(), re.MULTILINE)
        if public and not any(part.startswith("_") for part in parts):
            found.append(".".join(parts))
    return found


def reference(floor: str) -> str:
    """A floor's modules, from their docstrings."""
    return f"# segue.{floor}\n\n{FLOORS[floor]}.\n\n" + "\n\n".join(f"::: {name}" for name in modules(floor))


def commands() -> str:
    """Every command's help, as a terminal of 80 columns shows it."""
    import typer.main
    from typer.testing import CliRunner

    from segue.cli.app import app

    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    parts = ["# Commands", "What `segue COMMAND --help` says."]
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]  # of the group
        shown = runner.invoke(app, [name, "--help"], prog_name="segue").output
        parts.append(f"## segue {name}\n\n```text\n{shown.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def reference_index() -> str:
    """The floors, and the errors that all of them raise."""
    rows = "".join(f"| [`segue.{floor}`]({floor}.md) | {what} |\n" for floor, what in FLOORS.items())
    note = "Imports point down only: a floor knows those above it in this table that it is built on, never the others."
    return f"# Reference\n\n{note}\n\n| floor | |\n|---|---|\n{rows}\n::: segue.errors\n"
