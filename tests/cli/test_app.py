"""The command line: from demonstrations to a report, and what it says about wrong input."""

import builtins
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

import segue as package
from fakes.point_mass import demonstrations, recipe
from fakes.shell import Segue, segue_in
from segue.cli import app
from segue.data import episodes as episodes_file
from segue.errors import UnknownNameError
from segue.methods.methods import CORRECTIONS, PREDICTORS
from segue.policies.noise import NOISES
from segue.training import checkpoint

READING = ["--rate", "--state", "--action", "--episodes", "--skip-bad", "--fill-missing", "--kind"]
OPTIONS = {
    "train": [*READING, "--cameras", "--blind", "--data", "--objective", "--out", "--seed", "--updates", "--horizon",
              "--network", "--relative", "--own-share", "--stages", "--family", "--autoencoder", "--predictor",
              "--fresh", "--config", "--batch", "--learning-rate", "--accumulate", "--held-out", "--precision",
              "--device", "--track"],
    "train-autoencoder": [*READING, "--data", "--out", "--horizon", "--stride", "--latent", "--network",
                          "--bottleneck", "--updates", "--seed", "--fresh"],
    "train-predictor": [*READING, "--data", "--out", "--updates", "--width", "--most-steps", "--seed",
                        "--fresh"],
    "train-correction": [*READING, "--cameras", "--data", "--run", "--policy", "--updates", "--width", "--seed",
                         "--fresh"],
    "push": ["--licence", "--results", "--private"],
    "eval": ["--methods", "--data", "--delays", "--delay-model", "--delay-trace", "--episodes", "--execution-horizon",
             "--slower", "--workers", "--on", "--out"],
    "bench": ["--methods", "--data", "--delays", "--delay-model", "--training-seeds", "--episodes", "--updates",
              "--workers", "--on", "--runs", "--out", "--shard", "--dry-run"],
    "merge": ["--out"],
    "demo": ["--out", "--workers"],
    "try": ["--delay", "--episodes", "--film", "--out"],
    "rates": ["--latency", "--families", "--quick", "--training-seeds", "--episodes", "--updates", "--workers",
              "--runs", "--out"],
    "serve": ["--lerobot", "--state-names", "--action-names", "--rate", "--method", "--host", "--port", "--unix",
              "--token-file", "--tls-cert", "--tls-key", "--insecure", "--seed", "--device"],
    "load-test": ["--robots", "--rate", "--steps", "--seconds", "--token"],
    "report": ["--out", "--film", "--methods", "--task", "--delay"],
    "run": ["--method", "--data", "--server", "--token", "--seconds", "--rate", "--execution-horizon", "--trigger",
            "--delay-quantile", "--velocity", "--acceleration", "--jerk", "--seed", "--device", "--trace", "--view",
            "--robot", "--robot-option", "--limits", "--operator", "--policy", "--predictor", "--openpi", "--layout",
            "--prompt"],
    "replay": [],
    "doctor": ["--rate", "--seconds", "--run", "--method", "--server", "--token", "--robot", "--robot-option",
               "--openpi", "--layout", "--prompt"],
    "check-robot": ["--robot-option", "--limits"],
    "check": [*READING, "--cameras", "--horizon"],
    "metrics": [*READING, "--every", "--first"],
    "record": ["--out", "--method", "--delay", "--episodes", "--seed"],
    "convert": [*READING, "--cameras", "--task", "--blind"],
    "list": [],
}  # fmt: skip

COMMANDS: Any = typer.main.get_command(app.app)


def test_standard_streams_that_are_closed_are_not_taken_by_files() -> None:
    code = "import os; from segue.cli.app import open_standard_streams; os.closerange(0, 3); open_standard_streams(); "
    code += "os._exit(10 * os.open('/', os.O_RDONLY) + all(map(os.get_inheritable, range(3))))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 31


@pytest.fixture
def segue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Segue:
    return segue_in(monkeypatch, capsys)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that train in a moment."""
    monkeypatch.setattr("segue.lab.recipes.recipe_for", lambda task: recipe(updates=4, horizon=32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the door with a plain policy."""
    from rich.console import Console

    from segue.lab.tasks.tasks import task
    from segue.methods.methods import objective
    from segue.training.recipe import train_policy

    run = tmp_path_factory.mktemp("door")
    train_policy(
        task("adroit-door").demonstrations(), recipe(updates=4, horizon=32), "plain", objective("plain"), run=run,
        task="adroit-door", console=Console(quiet=True),
    )  # fmt: skip
    return run


def test_these_are_all_commands() -> None:
    assert OPTIONS.keys() == COMMANDS.commands.keys()


@pytest.mark.parametrize("command", OPTIONS)
def test_help_is_one_screen_with_every_option_and_an_example(command: str) -> None:
    shown = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app.app, [command, "--help"])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert len(lines) <= (52 if command == "train" else 40)
    [example] = [line.split() for line in lines if line.startswith("  segue ")]
    assert example[1] == command
    options = {option for each in COMMANDS.commands[command].params for option in each.opts if option.startswith("--")}
    assert {*OPTIONS[command], "--help"} == {*options, "--help"}
    assert all(any(line.startswith(f"  {option}") for line in lines) for option in options)


@pytest.mark.parametrize("command", OPTIONS)
def test_the_example_is_one_that_can_be_typed(command: str) -> None:
    [example] = re.findall(r"^segue (.+)$", COMMANDS.commands[command].help, re.MULTILINE)
    words = shlex.split(example)
    COMMANDS.commands[words[0]].make_context(words[0], words[1:])


def test_no_command_is_cut_short_in_the_list() -> None:
    shown = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app.app, ["--help"])
    assert "..." not in shown.output.split("Commands:")[1]


def test_the_version_is_that_of_the_package(segue: Segue) -> None:
    assert segue("--version") == (0, f"segue {package.__version__}\n", "")


def test_help_shows_every_command(segue: Segue) -> None:
    status, said, _ = segue("--help")
    assert status == 0
    assert all(command in said for command in OPTIONS)


def test_list_shows_what_exists(segue: Segue) -> None:
    status, said, _ = segue("list")
    assert status == 0
    for name in ("adroit-door", "push-t", "rtc-identity", "legato", "training-time-rtc", "unet", "regression"):
        assert name in said
    for key, names in (("predictor=", PREDICTORS), ("noise=", NOISES), ("correction=", CORRECTIONS)):
        [line] = [line for line in said.splitlines() if line.startswith(key)]
        assert line.removeprefix(key).strip() == ", ".join(names)


@pytest.mark.usefixtures("small")
def test_a_family_has_its_own_objective_and_says_how_to_go_on(segue: Segue, tmp_path: Path) -> None:
    status, said, _ = segue("train", "adroit-door", "--family", "regression", "--out", tmp_path, "--updates", 2)
    assert status == 0
    assert checkpoint.load(tmp_path / "regression").info["family"] == "regression"
    assert "naive:policy=regression" in said
    status, _, complaint = segue("train", "adroit-door", "--family", "regresion")
    assert status == 1
    assert "did you mean 'regression'" in complaint
    status, _, complaint = segue("train", "adroit-door", "--family", "regression", "--objective", "legato")
    assert status == 1
    assert "--family flow" in complaint
    status, _, complaint = segue("train", "adroit-door", "--autoencoder", tmp_path / "nowhere", "--out", tmp_path)
    assert status == 1
    assert "no checkpoint in" in complaint


@pytest.mark.usefixtures("small")
def test_train_then_eval_then_report(segue: Segue, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "eval"
    status, said, _ = segue("train", "adroit-door", "--objective", "plain", "--out", run, "--updates", 4)
    assert status == 0
    assert "25 demonstrations" in said
    assert checkpoint.load(run / "plain").info["task"] == "adroit-door"
    [hint] = re.findall(rf"next: +segue (eval adroit-door {run} --methods \S+)", said)
    assert "predictive" in hint

    status, said, _ = segue(
        "eval", "adroit-door", run, "--methods", "naive,naive:predictor=learned", "--delays", "0,4", "--episodes", 2,
        "--workers", 1, "--out", out,
    )  # fmt: skip
    assert status == 0
    results = json.loads((out / "results.json").read_text())
    assert [(cell["method"], cell["delay"]) for cell in results["cells"]] == [
        ("naive", 0), ("naive:predictor=learned", 0), ("naive", 4), ("naive:predictor=learned", 4),
    ]  # fmt: skip
    assert results["command"].startswith("segue eval adroit-door")
    assert results["budget"]["recipe"]["updates"] == 4
    assert str(out / "report.html") in said

    again = tmp_path / "again.html"
    status, said, _ = segue("report", out / "results.json", "--out", again)
    assert status == 0
    assert again.read_text().lstrip().lower().startswith("<!doctype html>")


def test_training_on_data_of_ones_own(segue: Segue, tmp_path: Path) -> None:
    episodes_file.save(demonstrations((40, 50)), tmp_path / "mine.npz")
    status, said, _ = segue("check", tmp_path / "mine.npz")
    assert status == 0
    assert "2 episodes of 40 to 50 steps at 10 Hz" in said
    run = tmp_path / "run"
    status, said, _ = segue(
        "train", "--data", tmp_path / "mine.npz", "--objective", "legato", "--own-share", 0.5, "--updates", 2,
        "--horizon", 6, "--network", "mixer", "--relative", "--out", run, "--stages", 1,
    )  # fmt: skip
    assert status == 0
    assert f"next:   segue doctor --run {run} --method predictive-legato" in said
    assert f"next:   segue run --robot module:Class {run} --method predictive-legato" in said
    info = checkpoint.load(run / "legato").info
    assert info["policy"]["network"] == "mixer"
    assert info["policy"]["relative_to"] == [0, 1]
    assert info["objective"]["own_share"] == 0.5


def complaint(result: tuple[int, str, str]) -> str:
    """What was complained about, after checking that it is one that helps."""
    status, said, error = result
    assert status == 1
    assert "Traceback" not in said + error
    assert error.startswith("error: ")
    assert "expected: " in error
    assert re.search(r"change: +\S", error)
    return error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "adroit-dor"], "did you mean 'adroit-door'?"),
        (["eval", "pusht"], "did you mean 'push-t'?"),
        (["bench", "nothing-like-it"], "segue list"),
        (["eval", "adroit-door", "--methods", "naive,legatto"], "did you mean 'legato'?"),
        (["train", "adroit-door", "--objective", "plane"], "did you mean 'plain'?"),
        (["train", "adroit-door", "--network", "unnet"], "did you mean 'unet'?"),
        (["train"], "--data"),
        (["train-predictor"], "segue train-predictor adroit-door"),
        (["train-predictor", "adroit-dor"], "did you mean 'adroit-door'?"),
        (["train", "adroit-door", "--data", "mine.npz"], "either a task"),
        (["train", "adroit-door", "--objective", "plain", "--own-share", "0.5"], "--own-share"),
        (["train", "adroit-door", "--horizon", "5000"], "shorter chunks"),
        (["train", "--data", "nowhere.npz"], "check the path"),
        (["check", "nowhere.npz"], "check the path"),
        (["eval", "adroit-door", "--delays", "0;4"], "separate with commas"),
        (["eval", "adroit-door", "--slower", "rtc=2.1", "--methods", "naive"], "--slower for rtc"),
        (["eval", "adroit-door", "--slower", "rtc:clip=1=2", "--methods", "rtc"], "--slower for rtc:clip=1"),
        (["eval", "adroit-door", "--delays", "0,-4"], "remove the negative ones"),
        (["eval", "adroit-door", "--delays", ""], "separate with commas"),
        (["eval", "adroit-door", "--delay-model", "jiter"], "did you mean 'jitter'?"),
        (["eval", "adroit-door", "--delay-trace", "nowhere.txt"], "nowhere.txt"),
        (["eval", "adroit-door", "no-such-run"], "segue train"),
        (["report", "nowhere.json"], "check the path"),
    ],
)
def test_wrong_arguments(
    segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in complaint(segue(*arguments))


def test_data_with_a_hole(segue: Segue, tmp_path: Path) -> None:
    episodes_file.save(demonstrations((40, 50)), tmp_path / "mine.npz")
    arrays = dict(np.load(tmp_path / "mine.npz", allow_pickle=False))
    arrays["action"][7, 1] = np.nan
    np.savez(tmp_path / "mine.npz", **arrays)
    for command in (["check"], ["train", "--data"]):
        error = complaint(segue(*command, tmp_path / "mine.npz"))
        assert "target y" in error or "action" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--delays", "40"], "horizon of at least 80"),
        (["--delays", "17"], "horizon of at least 34"),
        (["--delays", "4", "--execution-horizon", "30"], "at most 28 steps"),
    ],
)
def test_impossible_timing(segue: Segue, trained: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    shared = ["adroit-door", trained, "--methods", "naive", "--workers", 1, "--out", tmp_path]
    assert says in complaint(segue("eval", *shared, *arguments))
    assert not (tmp_path / "results.json").exists()


def test_a_place_that_is_not_known_is_refused_before_the_policies_are_looked_for(segue: Segue, tmp_path: Path) -> None:
    error = complaint(segue("eval", "push-t", tmp_path / "nowhere", "--on", "mars", "--out", tmp_path / "out"))
    assert "unknown place 'mars'" in error


def test_broken_checkpoints(segue: Segue, trained: Path, tmp_path: Path) -> None:
    def broken(name: str, file: str, content: bytes) -> str:
        run = tmp_path / name
        shutil.copytree(trained, run, symlinks=True)
        (run / "plain" / "last" / file).write_bytes(content)
        return complaint(segue("eval", "adroit-door", run, "--methods", "naive", "--delays", "0", "--out", tmp_path))

    whole = (trained / "plain" / "last" / "policy.safetensors").read_bytes()
    assert "truncated" in broken("short", "policy.safetensors", whole[: len(whole) // 2])
    assert "not JSON" in broken("cut", "config.json", b'{"format": "seg')
    assert "other libraries" in broken("foreign", "config.json", b'{"type": "act"}')


def test_a_policy_for_another_robot(segue: Segue, trained: Path, tmp_path: Path) -> None:
    error = complaint(segue("eval", "push-t", trained, "--methods", "naive", "--delays", "0", "--out", tmp_path))
    assert "the task that it was trained for" in error


def test_a_policy_that_was_not_trained(segue: Segue, trained: Path, tmp_path: Path) -> None:
    error = complaint(segue("eval", "adroit-door", trained, "--methods", "legato", "--out", tmp_path))
    assert "--objective legato" in error
    error = complaint(segue("eval", "adroit-door", trained, "--methods", "naive:predictor=learned", "--out", tmp_path))
    assert "segue train-predictor TASK --out" in error


def test_without_a_simulator(segue: Segue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("gymnasium_robotics", "mujoco"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    for name in [name for name in sys.modules if name.startswith("gymnasium_robotics")]:
        monkeypatch.delitem(sys.modules, name)
    error = complaint(segue("demo", "--out", tmp_path))
    assert ".[sim]" in error


def test_an_interrupted_training_goes_on(segue: Segue, tmp_path: Path) -> None:
    episodes_file.save(demonstrations((40, 50)), tmp_path / "mine.npz")
    arguments = ["train", "--data", tmp_path / "mine.npz", "--updates", 2, "--horizon", 6, "--out", tmp_path / "run"]
    assert segue(*arguments)[0] == 0
    assert segue(*arguments)[0] == 0
    error = complaint(segue(*arguments[:-4], "--horizon", 7, "--out", tmp_path / "run"))
    assert "--fresh" in error
    assert segue(*arguments[:-4], "--horizon", 7, "--out", tmp_path / "run", "--fresh")[0] == 0


def test_brackets_in_a_message_are_text(segue: Segue) -> None:
    """Not the markup of the screen."""
    assert "[/bold]x.json" in complaint(segue("report", "[/bold]x.json"))


def test_an_error_does_not_write_on_the_terminal_what_is_no_letter(segue: Segue) -> None:
    error = complaint(segue("report", "\x1b[2J\u202ex.json"))
    assert "?[2J?x.json" in error
    assert "\x1b[2J" not in error


def test_of_many_names_an_error_shows_those_that_are_close_or_nearest() -> None:
    known = [*(f"number-{number}" for number in range(30)), "pick-place"]
    error = UnknownNameError("task", "pik-place", known, listed="`segue list`")
    assert "one of pick-place (30 more: `segue list`)" in str(error)
    assert "did you mean 'pick-place'?" in str(error)
    assert "did you mean 'pick-place'?" in str(UnknownNameError("task", "place", known))
    assert "did you mean" not in str(UnknownNameError("task", "pl", known))
    error = UnknownNameError("task", "nothing like it", known)
    assert error.expected.count(", ") == 4
    assert error.expected.endswith(" (26 more)")
    assert "did you mean" not in str(error)
    assert "number-29" in str(UnknownNameError("task", "nothing like it", known[11:]))


def test_help_waits_for_nothing_that_only_commands_need() -> None:
    """As many imports as this is what it takes to be under 0.3 s of a processor."""
    code = "import sys, segue.cli.app as app; sys.argv = ['segue', '--help']\n"
    code += "try: app.main()\nexcept SystemExit: print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(said.splitlines()[-1].split())
    assert not {"numpy", "torch", "rich.markdown", "segue.data.files"} & loaded
    ours = {name for name in loaded if name.startswith("segue.")}
    assert {name for name in ours if not name.startswith("segue.cli")} == {"segue.errors"}
