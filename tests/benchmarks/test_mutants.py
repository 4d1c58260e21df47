"""The faults that are put into the source: each is one, and none breaks the grammar."""

import ast
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUTANTS = runpy.run_path(str(ROOT / "benchmarks" / "mutants.py"))
SOURCE = '''
def least(a: float = 1, *, b: bool = True) -> float:
    """Of two."""
    if a < 2 and not b:
        raise ValueError(f"{a + 1}")
    a += 1
    print(a)
    return min(a - 1, -2)
'''


def test_each_is_one_place_and_what_is_said_is_left_alone() -> None:
    texts = [mutant.text for mutant in MUTANTS["mutants"]("x.py", SOURCE)]
    conditions = ["(not (a < 2 and (not b)))", "((a < 2) or (not b))", "(a <= 2)", "(b)"]
    numbers = ["2", "2", "2", "3", "3", "False"]
    assert sorted(texts) == sorted([*conditions, *numbers, "pass", "pass", "max(a - 1, -2)", "(a + 1)", "(2)"])


@pytest.mark.faults
@pytest.mark.parametrize("floor", MUTANTS["FLOORS"])
def test_all_of_them_are_python(floor: str) -> None:
    for file in sorted((ROOT / "src" / "segue" / floor).glob("*.py")):
        raw = file.read_bytes()
        for mutant in MUTANTS["mutants"](file.name, raw.decode()):
            ast.parse(raw[: mutant.start] + mutant.text.encode() + raw[mutant.end :])


def test_a_share_lies_in_its_interval_which_shrinks() -> None:
    few, many = MUTANTS["interval"](9, 10), MUTANTS["interval"](900, 1000)
    assert few[0] < many[0] < 0.9 < many[1] < few[1] < 1
