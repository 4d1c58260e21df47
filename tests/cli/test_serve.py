"""segue serve: a trained policy in a process of its own, from its first line to Ctrl-C."""

import hashlib
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from fakes.point_mass import demonstrations, policy
from fakes.served_policies import WAIT
from segue.cli import app
from segue.core.chunk import Array, nothing_to_continue
from segue.errors import MissingExtraError, RemoteError, SegueError
from segue.links.card import Card
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
from segue.methods.methods import METHODS
from segue.training import checkpoint
from segue.training.predictor import PredictorTraining, train_predictor

OBSERVATION = np.zeros(4, np.float32)
FIRST = nothing_to_continue(0, 2, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    checkpoint.save(folder / "plain", 0, policy(), {}, {})
    return folder


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process and the address that it announces."""
    process = subprocess.Popen(
        [sys.executable, "-m", "segue", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if found := re.match(r"listening: (\S+)", line):
                yield found[1], process
                return
        pytest.fail(said)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Card]:
    """What a server of a run says of itself; it ends at once."""
    servers: list[PolicyServer] = []
    monkeypatch.setattr("segue.links.server.serve_until", lambda server, *_: servers.append(server))

    def said(run: Path, method: str) -> Card:
        done = CliRunner().invoke(app.app, ["serve", str(run), "--method", method, "--port", "0"])
        assert done.exit_code == 0, done.output
        return servers.pop().card

    return said


@pytest.mark.parametrize("method", ["sync", "naive-restart", "naive"])
def test_a_server_says_how_the_chunks_of_its_method_take_over(
    method: str, run: Path, card: Callable[[Path, str], Card]
) -> None:
    assert card(run, method).handover is METHODS[method].handover


def test_the_hash_is_of_all_weights_that_answer(run: Path, tmp_path: Path, card: Callable[[Path, str], Card]) -> None:
    """Two runs of one policy with two predictors."""
    hashes = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        shutil.copytree(run / "plain", folder / "plain", symlinks=True)
        training = PredictorTraining(updates=2, batch=8, most_steps=3, warmup=1, seed=seed)
        train_predictor(
            demonstrations(), training, run=folder / "predictor", width=8, console=Console(quiet=True)
        )  # fmt: skip
        hashes.append([card(folder, method).hash for method in ("naive", "rtc-identity", "naive:predictor=learned")])
    (plain, other, predicting), (same, _, another) = hashes
    weights = (run / "plain" / "last" / "policy.safetensors").read_bytes()
    assert plain == other == same == hashlib.sha256(weights).hexdigest()[:16]
    assert len({plain, predicting, another}) == 3


def test_a_policy_is_served_until_ctrl_c(run: Path, tmp_path: Path) -> None:
    token, wrong = tmp_path / "token", "something else that is long"
    token.write_text("correct horse battery\n")
    with serving(run, "--method", "rtc-identity", "--port", 0, "--token-file", token) as (url, process):
        with pytest.raises(RemoteError, match="token"):
            RemotePolicy(url, token=wrong, patience=WAIT)
        there = RemotePolicy(url, token="correct horse battery", deadline=WAIT, patience=WAIT)
        assert there.spec.horizon == 8
        assert there.card is not None
        assert there.card.model.endswith("/plain rtc-identity")
        assert len(there.card.hash) == 16
        assert there.next_chunk(OBSERVATION, FIRST).shape == (8, 2)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WAIT)
        assert process.returncode == 0
        assert "Traceback" not in said
        assert said.endswith("stopped\n")
        there.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_policy_is_served_encrypted(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=WAIT,
    )  # fmt: skip

    def asked(server: PolicyServer, *_: object) -> None:
        with running(server):
            assert server.url.startswith("wss://")
            trusted = ssl.create_default_context(cafile=str(certificate))
            there = RemotePolicy(server.url, tls=trusted, deadline=WAIT, patience=WAIT)
            chunks.append(there.next_chunk(OBSERVATION, FIRST))
            there.close()
            with pytest.raises(RemoteError, match="certificate"):
                RemotePolicy(server.url, patience=WAIT)

    chunks: list[Array] = []
    monkeypatch.setattr("segue.links.server.serve_until", asked)  # all of it but the process
    arguments = ["serve", run, "--method", "naive", "--port", 0, "--tls-cert", certificate, "--tls-key", key]
    done = CliRunner().invoke(app.app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert [chunk.shape for chunk in chunks] == [(8, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "without a token"),
        (["--token-file", "nowhere"], "a file with a token"),
        (["--tls-key", "nowhere"], "--tls-key without --tls-cert"),
        (["--tls-cert", "nowhere"], "a PEM certificate"),
        (["--method", "legato"], "no policy 'legato'"),
    ],
)
def test_fault_18_what_cannot_be_served_is_said(run: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app.app, ["serve", str(run), "--port", "0", *arguments])
    assert isinstance(done.exception, SegueError)
    assert message in str(done.exception)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "nothing to serve"),
        (("RUN", "--lerobot", "FOLDER"), "a run and a folder of LeRobot"),
        (("--lerobot", "FOLDER"), "without --rate"),
        (("--lerobot", "FOLDER", "--rate", "30", "--method", "no-such"), "no-such"),
        (("--lerobot", "RUN", "--rate", "30"), "without config.json"),
    ],
)
def test_what_is_served_is_named_once_and_whole(words: tuple[str, ...], why: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    places = {"RUN": str(run), "FOLDER": str(tmp_path)}
    done = CliRunner().invoke(app.app, ["serve", *(places.get(word, word) for word in words)])
    assert isinstance(done.exception, SegueError)
    assert why in str(done.exception)


@pytest.mark.skipif(find_spec("lerobot") is not None, reason="LeRobot is installed")
def test_without_lerobot_its_policies_say_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = CliRunner().invoke(app.app, ["serve", "--lerobot", str(tmp_path), "--rate", "30"])
    assert isinstance(done.exception, MissingExtraError)
    assert "lerobot" in done.exception.change
