"""The memory of a server and its clients stays: the small form of the script."""

import runpy
from pathlib import Path

FLAT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "flat_memory.py"))


def test_after_a_thousand_questions_neither_side_has_grown() -> None:
    said: list[str] = []
    found = FLAT["grown"](1000, 2, said.append)
    assert len(said) == 2
    for before, after in found.values():
        assert before > 0
        assert after - before < 4096  # KiB: some kilobytes for each question would be as much
