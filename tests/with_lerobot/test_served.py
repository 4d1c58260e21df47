"""segue serve --lerobot: policies of LeRobot's own classes, small and random, behind our server."""

# pyright: reportMissingImports=false

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_their_page import saved
from tiny_policies import ACTION, FLOW, HORIZON, STATE
from typer.testing import CliRunner

from segue.cli import app
from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.errors import SegueError
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running

FIRST = nothing_to_continue(0, ACTION, 4)
Served = Callable[..., PolicyServer]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The server of a command, which has not begun to listen."""
    servers: list[PolicyServer] = []
    monkeypatch.setattr("segue.links.server.serve_until", lambda server, *_: servers.append(server))

    def command(name: str, *words: str) -> PolicyServer:
        if not (tmp_path / "pretrained_model").exists():
            saved(name, tmp_path, monkeypatch)
        done = CliRunner().invoke(app.app, ["serve", "--lerobot", "pretrained_model", "--port", "0", *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        print(name, done.output)  # with the time of an inference, for docs/doors/openpi.md: pytest -s
        return servers.pop()

    return command


@pytest.mark.parametrize("name", FLOW)
def test_a_served_policy_continues_what_a_client_names(name: str, served: Served) -> None:
    """The commanded part of the previous chunk: kept to the bit by a cross-fade, nearer under RTC than without."""
    state = np.linspace(-1, 1, STATE, dtype=np.float32)
    seen = Observation(state, {"top": np.full((64, 64, 3), 90, np.uint8)}, "put the cup away")
    apart = {}
    for method in ("naive", "rtc", "cross-fade"):
        with running(served(name, "--rate", "30", "--method", method)) as server:
            policy = RemotePolicy(server.url, deadline=60, patience=60)
            assert (policy.spec.horizon, policy.spec.dt) == (HORIZON, pytest.approx(1 / 30))
            first = policy.next_chunk(seen, FIRST)
            later = policy.next_chunk(seen, Continuation(4, first[4:], delay=3, execution_horizon=4))
            assert first.shape == later.shape == (HORIZON, ACTION)
            assert np.isfinite(later).all()
            apart[method] = float(np.abs((later - np.roll(first, -4, 0))[:3]).mean())
            policy.close()
    assert apart["cross-fade"] == 0
    assert apart["rtc"] < apart["naive"]


def test_names_are_the_robot_s(served: Served) -> None:
    names = "a,b,c,d,e", "w,x,y,z"
    server = served("smolvla", "--rate", "30", "--state-names", names[0], "--action-names", names[1])
    assert (server.card.spec.observation_names, server.card.spec.action_names) == (tuple("abcde"), tuple("wxyz"))
    assert server.card.model == "pretrained_model rtc"  # the default, where nothing was trained besides


@pytest.mark.parametrize(
    ("name", "words", "why"),
    [
        ("smolvla", (), "without --rate"),
        ("smolvla", ("--rate", "30", "--method", "predictive"), "without a predictor"),
        ("smolvla", ("--rate", "30", "--method", "legato"), "was not trained to continue"),
        ("act", ("--rate", "30", "--method", "rtc"), "velocity"),
    ],
)
def test_what_a_checkpoint_cannot_do_is_said_before_it_listens(
    name: str, words: tuple[str, ...], why: str, served: Served
) -> None:
    with pytest.raises(SegueError, match=why):
        served(name, *words)
