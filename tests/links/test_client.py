"""The client: every method continues over the wire, and openpi's servers are asked as openpi asks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from websockets.sync.server import ServerConnection

from fakes.point_mass import policy as point_mass_policy
from fakes.served_policies import SPEC, WAIT, Affine, Watching, openpi_frame, openpi_read
from fakes.servers import FIRST, STATE, fake, remote, served
from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.data.resample import linear
from segue.errors import RemoteError, SpecError
from segue.links.address import Address
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
from segue.methods.methods import METHODS
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.low_rate import ExpandedPolicy

FLOW = ("plain", "legato", "literal-legato", "training-time-rtc")
CONTINUING = [name for name, method in METHODS.items() if method.policy in FLOW]


@pytest.mark.parametrize("name", CONTINUING)
def test_every_method_continues_over_the_wire_as_it_does_here(name: str) -> None:
    network, strategy = point_mass_policy(), METHODS[name].strategy
    here = ContinuingPolicy(network, strategy, seed=3)
    observation = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    with served(ContinuingPolicy(network, strategy, seed=3)) as server, remote(server.url) as there:
        assert there.spec == here.spec
        continuation = nothing_to_continue(0, 2, 3)
        for step in (0, 3, 6):
            expected = here.next_chunk(observation, continuation)
            np.testing.assert_array_equal(there.next_chunk(observation, continuation), expected)
            continuation = Continuation(step + 3, expected[3:], 2, 3, np.ones(5, np.int64))
        assert there.timing["round_trip_ms"] >= there.timing["infer_ms"] >= 0


def test_the_server_is_told_what_is_continued() -> None:
    policy = Affine()
    asked = Continuation(7, np.arange(10, dtype=np.float32).reshape(5, 2), 2, 3, np.array([2, 2, 1, 1, 1]), STATE[:2])
    with served(policy) as server, remote(server.url) as there:
        there.next_chunk(STATE, asked)
        there.next_chunk(STATE[::-1], FIRST)
    told, first = policy.asked
    assert (told.start, told.delay, told.execution_horizon) == (7, 2, 3)
    assert told.prefix.tolist() == asked.prefix.tolist()
    assert told.votes.tolist() == [2, 2, 1, 1, 1]
    assert told.previous is not None
    assert told.previous.tolist() == STATE[:2].tolist()
    assert first.prefix.shape == (0, 2)
    assert first.previous is None


def test_a_policy_at_a_higher_rate_starts_from_the_last_action_over_the_wire_too() -> None:
    network = point_mass_policy()
    naive = METHODS["naive"].strategy
    here, there = (ExpandedPolicy(ContinuingPolicy(network, naive, seed=3), 4, linear) for _ in range(2))
    observation = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    last = np.array([0.7, -0.7], np.float32)
    asked = replace(nothing_to_continue(8, 2, 8), previous=last)
    with served(there) as server, remote(server.url) as over_the_wire:
        expected = here.next_chunk(observation, asked)
        np.testing.assert_array_equal(over_the_wire.next_chunk(observation, asked), expected)
    step = (expected[3] - last) / 4
    np.testing.assert_allclose(expected[:4], last + np.arange(1, 5)[:, None] * step, atol=1e-6)


def test_fault_8_a_server_of_another_policy_is_refused_with_the_difference() -> None:
    other = replace(SPEC, action_names=SPEC.action_names[::-1])
    with served(Affine(), hash="12") as server:
        with pytest.raises(SpecError, match="'target shoulder' as action 0"):
            RemotePolicy(server.url, spec=other)
        with pytest.raises(SpecError, match="hash '12'"):
            RemotePolicy(server.url, model_hash="34")
        with remote(server.url, spec=SPEC, model_hash="12") as there:
            assert there.spec == SPEC


def test_fault_18_a_wrong_token_is_said_at_once() -> None:
    token = "correct horse battery"
    with running(PolicyServer(Affine(), Address(port=0, token=token))) as server:
        for wrong in (None, "x"):
            with pytest.raises(RemoteError, match="the token of the server"):
                RemotePolicy(server.url, token=wrong, patience=WAIT)
        with remote(server.url, token=token) as there:
            there.next_chunk(STATE, FIRST)


def test_an_openpi_server_is_asked_as_openpi_asks() -> None:
    heard: list[dict[str, Any]] = []

    def openpi(connection: ServerConnection) -> None:
        connection.send(openpi_frame({"name": "aloha"}))
        for frame in connection:
            assert isinstance(frame, bytes)
            heard.append(openpi_read(frame))
            actions = np.arange(16, dtype=np.float64).reshape(8, 2)
            connection.send(
                openpi_frame({"actions": actions, "state": np.zeros(3), "policy_timing": {"infer_ms": 2.0}})
            )

    with fake(openpi) as url:
        with pytest.raises(SpecError, match="give the spec"):
            RemotePolicy(url, patience=WAIT)
        spec = replace(SPEC, cameras={"cam": (2, 3)})
        with remote(url, spec=spec, prompt="fold", state="state") as there:
            seen = Observation(STATE, {"cam": np.zeros((2, 3, 3), np.uint8)})
            actions = there.next_chunk(seen, Continuation(4, np.ones((4, 2), np.float32), 1, 4))
            there.reset()
    assert actions.tolist() == np.arange(16).reshape(8, 2).tolist()
    assert heard[0].keys() == {"state", "prompt", "cam"}
    assert heard[0]["state"].tolist() == STATE.tolist()
    assert len(heard) == 1


@pytest.mark.parametrize("quality", [None, 95])
def test_pictures_go_along(quality: int | None) -> None:
    pytest.importorskip("simplejpeg")
    policy = Watching()
    shown = {"front": np.full((16, 24, 3), 90, np.uint8), "wrist": np.full((16, 16, 3), 30, np.uint8)}
    with served(policy) as server, remote(server.url, jpeg_quality=quality) as there:
        assert there.spec.cameras == policy.spec.cameras
        with pytest.raises(SpecError, match="no picture of 'front'"):
            there.next_chunk(STATE, FIRST)
        there.next_chunk(Observation(STATE, shown, "push"), FIRST)
    assert policy.prompt == "push"
    for name, picture in shown.items():
        assert np.abs(policy.seen[name].astype(int) - picture).max() <= 2


@pytest.mark.parametrize("url", ["http://localhost", "localhost:8000", "ws://"])
def test_a_url_that_is_none_is_said(url: str) -> None:
    with pytest.raises(SpecError, match="ws://host:port"):
        RemotePolicy(url)
