"""`segue train-predictor`, and the predictor of `segue train`: where it lies, what is said of it, when it is kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fakes import point_mass_with_pictures as sighted
from fakes.point_mass import OBSERVATION, demonstrations
from segue import load_predictor
from segue.cli import app
from segue.cli.predictor import error_table, judgement
from segue.cli.training import _methods_of
from segue.data.episodes import Episodes, save
from segue.errors import CheckpointError, SegueError
from segue.methods.methods import METHODS, method
from segue.methods.parts import parts_of
from segue.plan.plan import Handover
from segue.training import checkpoint
from segue.training.predictor import FORMAT, PredictionError

Segue = Callable[..., str]
TRAIN = ("--horizon", 6, "--updates", 2)


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch) -> Segue:
    """Run the command line; what was said. Raises what it raises."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(app.app, [str(each) for each in arguments])
        if done.exception is not None:
            raise done.exception
        return done.output

    return run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    save(demonstrations(), tmp_path / "mine.npz")
    return tmp_path / "mine.npz"


def settings_of(folder: Path) -> tuple[int, int]:
    """Updates done, and width."""
    info = checkpoint.load(folder, FORMAT).info
    return info["update"], info["predictor"]["width"]


def moving(speed: float, steps: int = 30, episodes: int = 2) -> Episodes:
    """x moves by ``speed`` per step, all else stands still."""
    template = demonstrations((steps,) * episodes)
    observation = np.zeros((steps * episodes, 4), np.float32)
    observation[:, 0] = np.tile(np.arange(steps) * speed, episodes)
    return replace(template, observation=observation)


def test_it_says_how_far_off_it_is_in_the_units_of_the_data(segue: Segue, tmp_path: Path) -> None:
    save(moving(0.25), tmp_path / "x.npz")
    said = segue("train-predictor", "--data", tmp_path / "x.npz", "--updates", 1, "--out", tmp_path / "made")
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in said.splitlines() if line.startswith("│")}
    assert list(rows) == [*OBSERVATION, "all / spread"]
    unchanged = [float(each) for each in rows["x"][1::2]]
    assert unchanged == [4 * 0.25, 8 * 0.25, 12 * 0.25]
    assert [float(each) for each in rows["goal x"][1::2]] == [0, 0, 0]
    spread = 0.25 * np.arange(30).std()  # dimensions that stand still do not count
    assert [float(each) for each in rows["all / spread"][1::2]] == pytest.approx(np.array(unchanged) / spread, abs=1e-3)
    assert 'hardly better than "nothing changes" does not help' in said
    assert str(tmp_path / "made" / "last") in said


def test_every_option_arrives(segue: Segue, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    segue("train-predictor", "--data", mine, "--updates", 3, "--width", 8, "--most-steps", 5, "--seed", 7, "--out", out)
    info = checkpoint.load(out, FORMAT).info
    assert settings_of(out) == (3, 8)
    assert info["training"]["seed"] == 7
    predictor, _ = load_predictor(out)
    assert len(predictor.bounds) == info["training"]["most_steps"] == 5
    with pytest.raises(CheckpointError, match="--fresh"):
        segue("train-predictor", "--data", mine, "--updates", 3, "--width", 8, "--most-steps", 6, "--out", out)
    segue("train-predictor", "--data", mine, "--updates", 2, "--width", 9, "--out", out, "--fresh")
    assert settings_of(out) == (2, 9)


def error(predicted: list[float], unchanged: list[float]) -> PredictionError:
    ours, none = (np.array(each, float)[:, None] for each in (predicted, unchanged))
    return PredictionError(("x",), (4, 8, 12), ours, none, np.ones(1))


@pytest.mark.parametrize(
    ("predicted", "steps"),
    [([0.1, 0.2, 0.3], ""), ([0.39, 0.2, 0.3], "4"), ([0.1, 0.79, 1.4], "8, 12"), ([np.nan, np.nan, np.nan], "")],
)
def test_it_says_so_where_it_is_hardly_better_than_nothing(predicted: list[float], steps: str) -> None:
    lines = judgement(error(predicted, [0.4, 0.8, 1.2]))
    assert len(lines) == (2 if steps else 1)
    assert not steps or f"hardly better {steps} steps ahead" in lines[1]


def test_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=200).print(error_table(error([0.5, 0.25, np.nan], [1, 2, np.nan])))
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ x")]
    assert [each.strip() for each in row.split("│")[2:-1]] == ["0.5", "1", "0.25", "2", "-", "-"]


def test_train_makes_one_beside_the_policies_and_keeps_it(segue: Segue, mine: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shared = ("train", "--data", mine, *TRAIN, "--out", run)
    said = segue(*shared, "--objective", "plain")
    [line] = [line for line in said.splitlines() if line.startswith("predictor:")]
    _, wrong = load_predictor(run / "predictor")
    assert f"{wrong.relative(wrong.predicted)[1]:.3f}" in line
    assert f"{wrong.relative(wrong.unchanged)[1]:.3f}" in line
    segue("train-predictor", "--data", mine, "--updates", 3, "--width", 8, "--out", run / "predictor", "--fresh")
    assert "predictor:" in segue(*shared, "--objective", "legato")
    assert settings_of(run / "predictor") == (3, 8)
    segue(*shared, "--objective", "legato", "--fresh")
    assert settings_of(run / "predictor") == (1, 256)
    parts = parts_of(run, [method("naive:predictor=learned"), method("legato:predictor=learned")])
    assert {each.predictor for each in parts.values()} == {run / "predictor"}


def test_an_interrupted_one_is_finished(segue: Segue, mine: Path, tmp_path: Path) -> None:
    made = tmp_path / "run" / "predictor"
    arguments = ("train-predictor", "--data", mine, "--updates", 4, "--width", 8, "--out", made)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    from segue.training import predictor as training

    with pytest.MonkeyPatch.context() as patch:
        half = replace(training.PredictorTraining(), checkpoint_every=2)
        patch.setattr(training, "PredictorTraining", lambda seed: replace(half, seed=seed))
        wrote = checkpoint.write

        def write(run: Path, done: int, *rest: object) -> Path:
            written = wrote(run, done, *rest)  # type: ignore[arg-type]
            return stopped() or written if done == 2 else written

        patch.setattr(checkpoint, "write", write)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            segue(*arguments)
    assert settings_of(made) == (2, 8)
    segue("train", "--data", mine, *TRAIN, "--out", tmp_path / "run", "--objective", "plain")
    assert settings_of(made) == (4, 8)


def test_one_of_other_demonstrations_is_not_taken(segue: Segue, mine: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    save(demonstrations(seed=1), tmp_path / "other.npz")
    segue("train-predictor", "--data", tmp_path / "other.npz", "--updates", 1, "--out", run / "predictor")
    with pytest.raises(CheckpointError, match="started on demonstrations with another") as caught:
        segue("train", "--data", mine, *TRAIN, "--out", run)
    assert "--fresh" in caught.value.change


def test_without_one(segue: Segue, mine: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = segue("train", "--data", mine, *TRAIN, "--objective", "plain", "--out", run, "--no-predictor")
    assert "predictor" not in said
    assert not (run / "predictor").exists()
    with pytest.raises(CheckpointError) as caught:
        parts_of(run, [method("naive:predictor=learned")])
    assert f"segue train-predictor TASK --out {run / 'predictor'}" in caught.value.change


def test_of_one_demonstration_there_is_a_policy_all_the_same(segue: Segue, tmp_path: Path) -> None:
    save(demonstrations((40,)), tmp_path / "one.npz")
    said = segue("train", "--data", tmp_path / "one.npz", *TRAIN, "--out", tmp_path / "run")
    assert "no predictor: one episode" in said
    assert checkpoint.started(tmp_path / "run" / "plain")


def test_of_a_run_with_latents_it_lies_where_they_look_for_it(segue: Segue, tmp_path: Path) -> None:
    save(demonstrations((40, 50, 40)), tmp_path / "mine.npz")
    run, data = tmp_path / "run", ("--data", tmp_path / "mine.npz")
    segue("train-autoencoder", *data, "--horizon", 8, "--updates", 2, "--out", run / "autoencoder")
    latent = ("--autoencoder", run / "autoencoder", "--out", run / "latent", "--horizon", 8, "--updates", 2)
    segue("train", *data, *latent, "--objective", "plain")
    assert not (run / "latent" / "predictor").exists()
    parts = parts_of(run, [method("latent-naive:predictor=learned")])["latent-naive:predictor=learned"]
    assert parts.predictor is not None
    assert load_predictor(parts.predictor)[0].config.observation_names == OBSERVATION


def test_of_demonstrations_with_pictures_only_the_state_is_predicted(segue: Segue, tmp_path: Path) -> None:
    save(sighted.demonstrations(), tmp_path / "seen.npz")
    said = segue("train-predictor", "--data", tmp_path / "seen.npz", "--updates", 1, "--out", tmp_path / "made")
    assert "only the state is predicted" in said
    assert load_predictor(tmp_path / "made")[0].config.observation_names == OBSERVATION[:2]


@pytest.mark.parametrize("goal", ["plain", "legato", "training-time-rtc", "latent/plain", "regression"])
def test_the_hint_names_methods_of_the_policy_one_with_the_predictor(goal: str) -> None:
    shown = [method(name) for name in _methods_of(goal, predicts=True)]
    assert all(each.policy == goal for each in shown)
    learned = [each for each in shown if each.predictor == "learned"]
    assert learned
    assert all(each.handover is not Handover.WAIT for each in learned)
    without = [method(name) for name in _methods_of(goal, predicts=False)]
    assert without
    assert not [each for each in without if each.predictor == "learned"]


def test_the_hint_leaves_no_method_out() -> None:
    shown = set(_methods_of("plain", predicts=True))
    trained = {each.name for each in METHODS.values() if each.policy == "plain" and each.correction == "none"}
    assert trained <= shown  # a correction is trained by a command of its own


@pytest.mark.parametrize("arguments", [[], ["adroit-door", "--data", "mine.npz"], ["adroit-door", "--rate", "60"]])
def test_wrong_arguments(segue: Segue, arguments: list[str]) -> None:
    with pytest.raises(SegueError):
        segue("train-predictor", *arguments)
