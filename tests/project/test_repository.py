"""Rules of the source tree: floors, sizes, names, and what an import brings with it."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")  # of Python 3.11 and newer
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "segue"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What the modules of a floor may import, besides the floor itself. Imports point down only.
ROBOT_WING = ("core", "plan", "safety", "links", "trace", "runtime")
LEARNING_WING = ("strategies", "data", "policies", "training")
FLOORS: dict[str, set[str]] = {
    "__init__": {"errors", "core", "lab", "methods", "plan", "policies", "strategies", "training"},  # when first used
    "robot": {*ROBOT_WING, "methods"},  # of `methods` the policy's own process, which loads torch there and not here
    "learn": {*LEARNING_WING, "methods"},
    "errors": set(),
    "core": {"errors"},
    # the robot wing
    "plan": {"errors", "core"},
    "safety": {"errors", "core"},
    "links": {"errors", "core", "plan"},
    "trace": {"errors", "core", "plan"},
    "runtime": {"errors", "core", "plan", "safety", "links", "trace"},
    # the learning wing
    "strategies": {"errors", "core"},
    "data": {"errors", "core"},
    "policies": {"errors", "core", "data", "strategies"},
    "training": {"errors", "core", "data", "strategies", "policies"},
    # where they meet
    "methods": {"errors", "core", "plan", "links", *LEARNING_WING},
    "integrations": {"errors", *ROBOT_WING, *LEARNING_WING, "methods"},
    # the laboratory
    "lab": {"errors", *ROBOT_WING, *LEARNING_WING, "methods"},
    "cli": {"errors", *ROBOT_WING, *LEARNING_WING, "methods", "integrations", "lab"},
    "__main__": {"cli"},
}
WITHOUT_TORCH = ("errors.py", *(f"{floor}/" for floor in ROBOT_WING), "data/", "lab/tasks/")
OPTIONAL = (
    "mujoco",
    "gymnasium",
    "gymnasium_robotics",
    "metaworld",
    "gym_pusht",
    "pymunk",
    "robosuite",
    "matplotlib",
    "zarr",
    "pyarrow",
    "h5py",
    "scipy",
    "jinja2",
    "PIL",
    "av",
    "simplejpeg",
    "rerun",
    "diffusers",
    "huggingface_hub",
    "tensorboard",
    "wandb",
    "lerobot",
    "ray",
    "action_lipo",
)


def imports(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            # `from segue.envs import tasks` imports segue.lab.tasks.tasks
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> str:
    return module.split(".")[1]


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_point_down(file: Path) -> None:
    here = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert here in FLOORS, "a new floor needs a line in the table"
    below = {floor(module) for module in imports(file) if module.startswith("segue.")}
    assert below <= FLOORS[here] | {here}


def test_the_table_has_no_cycle_and_nothing_that_is_gone() -> None:
    found = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if not path.name.startswith("__pycache__")}
    assert FLOORS.keys() <= found
    done: set[str] = set()
    while len(done) < len(FLOORS):
        free = {name for name, below in FLOORS.items() if name not in done and below <= done}
        assert free, f"a cycle among {FLOORS.keys() - done}"
        done |= free


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_numpy_floors_do_not_name_torch(file: Path) -> None:
    if name_of(file).startswith(WITHOUT_TORCH):
        assert not any(module.split(".")[0] in ("torch", "accelerate", "safetensors") for module in imports(file))


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def test_importing_brings_neither_torch_nor_optional_packages() -> None:
    """One interpreter for all of them: what any of them brings is there after the last."""
    modules = ("segue", "segue.plan.plan", "segue.links.server", "segue.links.client", "segue.runtime.executor",
               "segue.trace.replay", "segue.runtime.doctor", "segue.core.chunk", "segue.core.seams", "segue.robot",
               "segue.data.episodes", "segue.lab.tasks.tasks", "segue.methods.policy_process")  # fmt: skip
    assert not loaded_by(f"import {', '.join(modules)}") & {"torch", "rich", "typer", *OPTIONAL}


def test_the_command_line_starts_without_torch() -> None:
    assert not loaded_by("import segue.cli.app") & {"torch", *OPTIONAL}


def test_public_names_exist_and_are_the_same_objects() -> None:
    import segue

    home = importlib.import_module("segue.plan.plan")
    assert segue.Plan is home.Plan
    assert set(segue.__all__) <= set(dir(segue))
    for name in segue.__all__:
        assert getattr(segue, name) is getattr(segue, name)
    assert segue.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'Segue'"):
        segue.Segue  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("file", [file for file in MODULES if "__all__" in file.read_text()], ids=name_of)
def test_every_name_in_all_exists(file: Path) -> None:
    parts = ["segue", *file.relative_to(PACKAGE).with_suffix("").parts]
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    for name in module.__all__:
        assert hasattr(module, name), name


PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
SOURCES = [*MODULES, *PLUGINS, *sorted((ROOT / "tests").rglob("*.py"))]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_short_and_named_for_what_they_do(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400
    assert file.stem not in ("utils", "util", "helpers", "helper", "common", "misc")


def lines_of(*parts: str) -> int:
    files = [file for part in parts for file in MODULES if name_of(file).startswith(part)]
    return sum(len(file.read_text().splitlines()) for file in files)


def test_the_house_does_not_grow_unseen() -> None:
    """Bounds a little above what there is: whoever needs more raises them, and says for what."""
    assert lines_of("") <= 39_800
    assert lines_of("errors.py", "robot.py", *(f"{floor}/" for floor in ROBOT_WING)) <= 10_650
    for folder in {file.parent for file in MODULES}:
        assert len(list(folder.glob("*.py"))) <= 16, folder


@pytest.mark.parametrize("floor", ["serve", "doctor", "options"])
def test_what_serves_and_drives_knows_nothing_of_the_laboratory(floor: str) -> None:
    assert not any(module.startswith("segue.lab") for module in imports(PACKAGE / "cli" / f"{floor}.py"))


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_functions_are_short(file: Path) -> None:
    """At most 60 lines of code; docstrings are free."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno < 60, node.name


def test_the_plugin_is_of_this_version_and_asks_for_no_other() -> None:
    ours, plugin = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        for folder in (".", "plugins/lerobot_policy_segue")
    )
    assert plugin["version"] == ours["version"]
    assert f"segue[learn,lerobot]=={ours['version']}" in plugin["dependencies"]


def test_the_tree_names_no_place_outside_of_itself() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    forbidden = ["/" + "work" + "/", "shared" + "/"]
    for name in listed.stdout.splitlines():
        file = ROOT / name
        if file.suffix in (".npz", ".png", ".gif", ".mp4", ".webp") or not file.is_file():
            continue
        text = file.read_text(errors="ignore")
        assert not [word for word in forbidden if word in text], name
