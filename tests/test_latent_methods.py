"""Rows of a comparison that need an autoencoder: trained by a bench, found again, and at work in robot units."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from point_mass import PointMass, demonstrations, recipe
from segue.core.chunk import Array, Continuation
from segue.envs.tasks import Task
from segue.errors import CheckpointError, SpecError
from segue.evaluation import bench, results, sweep
from segue.evaluation.delays import Fixed
from segue.evaluation.methods import Method, method
from segue.evaluation.sweep import policies_of
from segue.evaluation.trained import chunk_policy
from segue.policies.autoencoder import refine
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy
from segue.policies.policy import Policy
from segue.strategies.naive import Naive
from segue.strategies.reuse_then_refine import Anchor, Executed, ReuseThenRefine
from segue.strategies.reuse_then_refine import Fixed as FixedSteps
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, load_autoencoder

HORIZON, ACTION = 8, 2
QUIET = Console(quiet=True)
POINT = Task("point", "a point mass", 0.1, 25, HORIZON, 3, PointMass, demonstrations)
ROWS = ("naive", "rtr", "latent-naive", "latent-rtc", "latent-rtc-identity", "latent-rtr", "latent-legato")
SEEN = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
PREFIX = np.random.default_rng(0).uniform(-1, 1, (6, ACTION)).astype(np.float32)
HELD = Continuation(7, PREFIX, 3, 2, np.ones(6, np.int64))


class Here:
    """A pool of processes that does everything in this one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.map = map

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def comparison(*names: str) -> bench.Comparison:
    methods = tuple(method(name) for name in names or ROWS)
    few = AutoencoderTraining(updates=3, batch=8)
    return bench.Comparison("point", methods, (Fixed(2),), recipe(4), 1, 2, 3, autoencoder=few)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a bench has trained, with the point mass as its task."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for module in (sweep, bench):
            patch.setattr(module, "task", lambda _: POINT)
        patch.setattr(bench, "pool", Here)
        bench.train(comparison(), folder, 1, QUIET)
        yield folder


def policy(runs: Path, name: str) -> Policy:
    return checkpoint.load(runs / "seed-0" / name).policy()


def said(made: ContinuingPolicy | FinishedPolicy) -> Array:
    return made.next_chunk(SEEN, HELD)


def test_everything_is_trained_where_it_is_looked_for(runs: Path) -> None:
    run = runs / "seed-0"
    found = {path.parent.relative_to(run).as_posix() for path in run.rglob("last")}
    assert found == {"autoencoder", "first-stage", "plain", "latent/first-stage", "latent/plain", "latent/legato"}
    assert policies_of(run, comparison().methods) == {
        name: run / name for name in ("plain", "latent/plain", "latent/legato", "autoencoder")
    }
    latent, plain = (checkpoint.load(run / name).info for name in ("latent/legato", "plain"))
    assert latent["update"] == plain["update"] == 2
    assert latent["autoencoder"]["latent"] == ACTION


def test_what_is_there_is_not_trained_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(bench, "train_first_stage", never)
    monkeypatch.setattr(bench, "train_policy", never)
    bench.train(comparison(), runs, 1, QUIET)


def test_every_row_is_rolled_out_and_the_budget_names_the_autoencoder(runs: Path, tmp_path: Path) -> None:
    path = bench.evaluate(comparison(), [runs / "seed-0"], out=tmp_path, workers=1, command="c", console=QUIET)
    content = results.read(path)
    assert [each["method"] for each in content["cells"]] == list(ROWS)
    assert all(np.isfinite(trace["commands"]).all() for trace in content["traces"])
    assert content["budget"]["updates per autoencoder"] == "3"
    assert content["budget"]["updates per policy"] == "4"
    assert [each["autoencoder"] for each in content["budget"]["recipe"]] == [None, "autoencoder"]


def test_a_comparison_of_actions_alone_needs_no_autoencoder(runs: Path, tmp_path: Path) -> None:
    assert not comparison("naive").needs_autoencoder
    path = bench.evaluate(comparison("naive"), [runs / "seed-0"], out=tmp_path, workers=1, command="c", console=QUIET)
    assert "updates per autoencoder" not in results.read(path)["budget"]


@pytest.mark.parametrize(("name", "trained"), [("rtr", "plain"), ("latent-rtr", "latent/plain")])
@pytest.mark.parametrize(
    ("setting", "splice", "adjustments"),
    [("", Executed(), ()), (":reuse=5", FixedSteps(5), ()), (":anchor=0.5", Executed(), (Anchor(0.5),))],
)
def test_reuse_then_refine_works_on_robot_units(
    runs: Path, name: str, trained: str, setting: str, splice: Executed | FixedSteps, adjustments: tuple[Anchor, ...]
) -> None:
    codec = load_autoencoder(runs / "seed-0" / "autoencoder")[0]
    below = ContinuingPolicy(policy(runs, trained), Naive(), seed=4)
    expected = FinishedPolicy(below, ReuseThenRefine(partial(refine, codec), splice, adjustments))
    bound, _ = chunk_policy(runs / "seed-0", name + setting, seed=4)
    np.testing.assert_allclose(said(bound), said(expected), atol=1e-6)


def test_averages_on_latent_policies_are_those_of_actions(runs: Path) -> None:
    latent = policy(runs, "latent/plain")
    plain = said(ContinuingPolicy(latent, Naive(), seed=4))
    blended = said(method("blend:policy=latent/plain").bound(latent, seed=4))
    np.testing.assert_allclose(blended[:6], 0.7 * plain[:6] + 0.3 * PREFIX, atol=1e-6)
    np.testing.assert_allclose(blended[6:], plain[6:], atol=1e-6)


def test_without_an_autoencoder_the_rows_that_need_one_are_named(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").symlink_to(runs / "seed-0" / "plain")
    with pytest.raises(CheckpointError, match="refine with: rtr") as caught:
        policies_of(tmp_path, [method("naive"), method("rtr")])
    assert "segue train-autoencoder TASK" in caught.value.change
    with pytest.raises(CheckpointError, match="no policy 'latent/legato'") as caught:
        policies_of(tmp_path, [method("latent-legato")])
    assert f"--objective legato --autoencoder {tmp_path / 'autoencoder'}" in caught.value.change
    refining: Method = method("rtr")
    with pytest.raises(SpecError, match="'rtr' on a policy without an autoencoder"):
        refining.bound(policy(runs, "plain"))
