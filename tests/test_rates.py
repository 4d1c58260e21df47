"""The rates protocol on the point mass, trained for a moment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from point_mass import SPEC, PointMass, demonstrations
from segue.envs.tasks import Task, task
from segue.errors import SpecError
from segue.evaluation import rates_run, results, sweep
from segue.evaluation.rates import FAMILIES, FORMS, Networks, Rates, Row, quick, rates_for, rows

TINY = ("mlp", {"width": 16})
NETWORKS = Networks(TINY, TINY, TINY, TINY)
LENGTHS = (30, 24, 40, 26, 34)
POINT = Task("point", "a point mass", 0.1, 12, 8, 4, PointMass, lambda: demonstrations(LENGTHS))
RATES = Rates("point", 2, 8, 4, 2, latent=3, updates=4, autoencoder_updates=3, batch=8, episodes=2, held_out_every=3,
              networks=NETWORKS)  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("rates")
    with pytest.MonkeyPatch.context() as patch:
        for module in (sweep, rates_run):
            patch.setattr(module, "task", lambda name: POINT if name == "point" else task(name))
        path = rates_run.run(
            RATES, runs=folder / "runs", out=folder, workers=1, command="segue bench rates", console=Console(quiet=True)
        )
    return results.read(path)


def test_every_row_is_measured_along_episodes_and_in_the_simulator(content: dict) -> None:
    print([row["name"] for row in content["rates"]["rows"]])
