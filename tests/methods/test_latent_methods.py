"""Rows of a comparison that need an autoencoder: trained by a bench, found again, and at work in robot units."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from fakes.point_mass import PointMass, demonstrations, recipe
from segue.core.chunk import Array, Continuation
from segue.errors import CheckpointError, SpecError
from segue.lab import compare, results, sweep
from segue.lab.delays import Fixed
from segue.lab.tasks.tasks import Task
from segue.methods import methods
from segue.methods.load import chunk_policy
from segue.methods.methods import Method, method
from segue.methods.parts import Parts, parts_of
from segue.policies.autoencoder.autoencoder import refine
from segue.policies.chunk_policy import ContinuingPolicy, FinishedPolicy, ServingPolicy
from segue.policies.flow import FlowPolicy
from segue.policies.policy import Policy
from segue.policies.predictors.predictor import PredictivePolicy
from segue.strategies.naive import Naive
from segue.strategies.reuse_then_refine import Anchor, Executed, ReuseThenRefine
from segue.strategies.reuse_then_refine import Fixed as FixedSteps
from segue.training import checkpoint
from segue.training.autoencoder import AutoencoderTraining, load_autoencoder
from segue.training.predictor import PredictorTraining, load_predictor, train_predictor

HORIZON, ACTION = 8, 2
QUIET = Console(quiet=True)
POINT = Task("point", "a point mass", 0.1, 25, HORIZON, 3, PointMass, demonstrations)
LEGATO = "latent-legato:predictor=learned:noise=carried:scale=0.7"
PREDICTING = ("latent-naive:predictor=learned", "latent-rtr:predictor=learned", LEGATO)
ROWS = ("naive", "rtr", "latent-naive", "latent-rtc", "latent-rtc-identity", "latent-rtr", "latent-legato")
SEEN = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
PREFIX = np.random.default_rng(0).uniform(-1, 1, (6, ACTION)).astype(np.float32)
HELD = Continuation(7, PREFIX, 3, 2, np.ones(6, np.int64))


def comparison(*names: str) -> compare.Comparison:
    methods = tuple(method(name) for name in names or ROWS)
    few = AutoencoderTraining(updates=3, batch=8)
    return compare.Comparison("point", methods, (Fixed(2),), recipe(4), 1, 2, 3, autoencoder=few)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a bench has trained, with the point mass as its task."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for module in (sweep, compare):
            patch.setattr(module, "task", lambda _: POINT)
        patch.setattr(compare, "write_report", lambda *_: None)  # pages have tests of their own
        compare.train(comparison(), folder, 1, QUIET)
        yield folder


@pytest.fixture(scope="module")
def predicting(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with a predictor."""
    run = tmp_path_factory.mktemp("predicting")
    for each in ("plain", "latent", "autoencoder"):
        (run / each).symlink_to(runs / "seed-0" / each)
    few = PredictorTraining(updates=20, batch=16)
    train_predictor(demonstrations(), few, run=run / "predictor", console=QUIET)
    return run


def policy(runs: Path, name: str) -> Policy:
    return checkpoint.load(runs / "seed-0" / name).policy()


def said(made: ServingPolicy, held: Continuation = HELD) -> Array:
    return made.next_chunk(SEEN, held)


def test_everything_is_trained_where_it_is_looked_for(runs: Path) -> None:
    run = runs / "seed-0"
    found = {path.parent.relative_to(run).as_posix() for path in run.rglob("last")}
    assert found == {"autoencoder", "first-stage", "plain", "latent/first-stage", "latent/plain", "latent/legato"}
    expected = {each.name: Parts(run / each.policy) for each in comparison().methods}
    expected["rtr"] = Parts(run / "plain", autoencoder=run / "autoencoder")  # latent policies have their own
    assert parts_of(run, comparison().methods) == expected
    latent, plain = (checkpoint.load(run / name).info for name in ("latent/legato", "plain"))
    assert latent["update"] == plain["update"] == 2
    assert latent["autoencoder"]["latent"] == ACTION


def test_what_is_there_is_not_trained_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(compare, "train_policy", never)
    compare.train(comparison(), runs, 1, QUIET)


def test_every_row_is_rolled_out_and_the_budget_names_the_autoencoder(runs: Path, tmp_path: Path) -> None:
    path = compare.evaluate(comparison(), [runs / "seed-0"], out=tmp_path, workers=1, command="c", console=QUIET)
    content = results.read(path)
    assert [each.method for each in content.cells] == list(ROWS)
    assert all(np.isfinite(trace.commands).all() for trace in content.traces or ())
    assert content.budget["updates per autoencoder"] == "3"
    assert content.budget["updates per policy"] == "4"
    assert [each["autoencoder"] for each in content.budget["recipe"]] == [None, "autoencoder"]


def test_a_comparison_of_actions_alone_needs_no_autoencoder(runs: Path, tmp_path: Path) -> None:
    assert not comparison("naive").needs_autoencoder
    path = compare.evaluate(comparison("naive"), [runs / "seed-0"], out=tmp_path, workers=1, command="c", console=QUIET)
    assert "updates per autoencoder" not in results.read(path).budget


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
        parts_of(tmp_path, [method("naive"), method("rtr")])
    assert "segue train-autoencoder TASK" in caught.value.change
    with pytest.raises(CheckpointError, match="no policy 'latent/legato'") as caught:
        parts_of(tmp_path, [method("latent-legato")])
    assert f"--objective legato --autoencoder {tmp_path / 'autoencoder'}" in caught.value.change
    refining: Method = method("rtr")
    with pytest.raises(SpecError, match="'rtr' on a policy without an autoencoder"):
        refining.bound(policy(runs, "plain"))


def test_latent_methods_are_rolled_out_with_chunks_for_their_takeover(predicting: Path, tmp_path: Path) -> None:
    path = compare.evaluate(comparison(*PREDICTING), [predicting], out=tmp_path, workers=1, command="c", console=QUIET)
    content = results.read(path)
    assert [each.method for each in content.cells] == list(PREDICTING)
    assert all(np.isfinite(trace.commands).all() for trace in content.traces or ())


def made_later(predicting: Path, trained: str, held: Continuation) -> Array:
    """The chunk of a policy for the step at which it takes over, from its first own action on."""
    predictor, steps = load_predictor(predicting / "predictor")[0], held.committed
    later = predictor.ahead(SEEN[None], held.prefix[None, :steps], np.array([steps]))[0]
    below = ContinuingPolicy(checkpoint.load(predicting / trained).policy(), Naive(), seed=4)
    return below.next_chunk(later, held.ahead(steps))


@pytest.fixture
def refined(monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """What is given to be refined, all chunks of one robot; each comes back doubled."""
    given: list[Array] = []

    def doubled(_: object, actions: Tensor) -> Tensor:
        given.append(actions[0].numpy().copy())
        return 2 * actions

    monkeypatch.setattr(methods, "refine", doubled)
    return given


@pytest.mark.parametrize(("name", "trained"), [("rtr", "plain"), ("latent-rtr", "latent/plain")])
@pytest.mark.parametrize("known", [3, 6])
def test_what_is_refined_begins_with_the_committed_actions(
    predicting: Path, refined: list[Array], name: str, trained: str, known: int
) -> None:
    """[committed d | chunk for k + d], cut to the horizon; it keeps its start k, and is executed from d on."""
    held = replace(HELD, prefix=PREFIX[:known], votes=HELD.votes[:known])
    bound, _ = chunk_policy(predicting, f"{name}:predictor=learned", seed=4)
    chunk, d = said(bound, held), held.delay
    whole = np.concatenate([PREFIX[:d], made_later(predicting, trained, held)])[:HORIZON]
    assert len(refined) == 1
    np.testing.assert_allclose(refined[0], whole, atol=1e-6)
    np.testing.assert_allclose(chunk[d:], 2 * whole[d:], atol=1e-6)


@pytest.mark.parametrize("known", [3, 6])
def test_below_a_predictor_no_seam_would_be_refined(predicting: Path, refined: list[Array], known: int) -> None:
    """There nothing is committed any more: the new chunk is refined by itself, and after a short prefix not at all."""
    held = replace(HELD, prefix=PREFIX[:known], votes=HELD.votes[:known])
    latent, later = checkpoint.load(predicting / "latent/plain").policy(), made_later(predicting, "latent/plain", held)
    inside = ContinuingPolicy(
        latent, Naive(), seed=4, finishing=ReuseThenRefine(partial(methods.refine, None))  # type: ignore[arg-type]
    )  # fmt: skip
    chunk = said(PredictivePolicy(inside, load_predictor(predicting / "predictor")[0]), held)
    np.testing.assert_allclose(refined[0], later, atol=1e-6)  # none of the committed actions
    factor = 2 if known > held.delay else 1
    np.testing.assert_allclose(chunk[held.delay :], factor * later[: HORIZON - held.delay], atol=1e-6)


def test_latent_noise_is_carried_on_one_grid_of_positions(predicting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Position j of a chunk that takes over at step a is position a // f + j of the episode, whichever chunk asks."""
    drawn: list[Tensor] = []
    original = FlowPolicy.continue_chunk

    def noted(self: FlowPolicy, strategy: Any, observation: Any, prefix: Any, noise: Tensor, steps: int) -> Tensor:
        drawn.append(noise[0].clone())
        return original(self, strategy, observation, prefix, noise, steps)

    monkeypatch.setattr(FlowPolicy, "continue_chunk", noted)
    bound, _ = chunk_policy(predicting, LEGATO, seed=4)
    f = checkpoint.load(predicting / "latent/legato").policy().units.stride
    assert f > 1
    found: dict[int, Tensor] = {}
    for start in range(5 * f):
        for delay in (0, 1, 3):
            said(bound, replace(HELD, start=start, delay=delay))
            for j, row in enumerate(drawn.pop()):
                assert torch.equal(found.setdefault((start + delay) // f + j, row), row)
    assert len({tuple(row.tolist()) for row in found.values()}) == len(found)
    said(bound, replace(HELD, episode=1, start=0, delay=0))
    assert not torch.equal(drawn.pop()[0], found[0])
    said(chunk_policy(predicting, LEGATO.replace("0.7", "1"), seed=4)[0], replace(HELD, start=0, delay=0))
    torch.testing.assert_close(0.7 * drawn.pop()[0], found[0])
