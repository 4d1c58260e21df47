"""The timing script of bursts: the honest client is answered under each of them."""

import runpy
from pathlib import Path

FLOOD = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "flood.py"))


def test_under_each_burst_there_are_answers() -> None:
    with FLOOD["server"]() as url:
        times = FLOOD["measure"](url, 300, 1, 2)
    assert times.keys() == FLOOD["BURSTS"].keys()
    assert all(each.shape == (1, 2) and (each > 0).all() for each in times.values())
