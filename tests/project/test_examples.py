"""Every example runs, is short, and says what it is for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SMALL = {
    "01_train_and_run.py": ["2"],
    "02_compare_two_methods.py": ["2"],
    "03_your_own_data.py": ["2"],
    "04_write_a_strategy.py": [],
    "05_drive_a_robot.py": ["12"],
    "06_look_at_pictures.py": ["2", "1"],
    "07_openpi_both_ends.py": [],
    "my_method.py": [],
    "my_task.py": [],
    "my_arm.py": [],
}


def run(code: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, cwd=ROOT, env=environment)


def test_there_are_examples() -> None:
    assert {path.name for path in EXAMPLES} == set(SMALL)


@pytest.mark.pages
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path) -> None:
    done = run([str(path), *SMALL[path.name]])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_one_idea_on_one_page(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert f"python examples/{path.name}" in docstring


def test_the_control_loop_needs_no_torch() -> None:
    script = ROOT / "examples" / "05_drive_a_robot.py"
    done = run(
        [
            "-c",
            "import runpy, sys; sys.argv = ['05', '2']\n"
            f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
            "assert 'numpy' in sys.modules and 'torch' not in sys.modules",
        ]
    )
    assert done.returncode == 0, done.stderr
