"""The timing script of servers: everything that it times answers, and everybody takes a turn."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zmq")
pytest.importorskip("grpc")
pytest.importorskip("simplejpeg")

WIRE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "wire.py"))


def test_everything_that_is_timed_answers() -> None:
    with WIRE["servers"]() as (addresses, pid), WIRE["callers"](addresses) as work:
        for name, ask in work.items():
            reply = ask()
            if name.startswith("Segue"):
                assert reply.shape == (50, 14)
        times = WIRE["measure"](work, pid, 2, 3)
    assert len(work) == 15
    for name in work:
        assert times[name].shape == (2, 3)
        assert np.all(times[name] > 0)
        assert times[f"{name} CPU"] >= 0
