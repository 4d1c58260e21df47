"""Predictions and carried noise over the wire: a server that keeps nothing answers as the same policy does here."""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from websockets.sync.server import ServerConnection

from fakes.point_mass import PointMass, demonstrations
from fakes.point_mass import policy as point_mass_policy
from fakes.served_policies import SPEC, Affine, openpi_frame, openpi_read
from fakes.servers import STATE, fake, remote, served
from segue.core.chunk import Array, Continuation
from segue.links.address import Address
from segue.links.card import Card, encode_card
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
from segue.methods.methods import method
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Plan
from segue.policies.chunk_policy import ServingPolicy
from segue.policies.flow import FlowPolicy
from segue.policies.predictors.predictor import PredictivePolicy
from segue.policies.predictors.state import StatePredictor
from segue.training.predictor import predictor_for

HORIZON, S, D = 8, 3, 2
Parts = tuple[FlowPolicy, StatePredictor]


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Untrained, with weights that are not zero. Undisturbed predictions are usual, others are not."""
    policy = point_mass_policy(HORIZON)
    torch.manual_seed(1)
    predictor = predictor_for(demonstrations(), width=16).requires_grad_(False)
    for parameter in predictor.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape))
    predictor.bounds.fill_(1.0)
    return policy, predictor.eval()


def bound(parts: Parts) -> ServingPolicy:
    policy, predictor = copy.deepcopy(parts)
    return method("naive:noise=carried:scale=0.7:predictor=learned").bound(policy, predictor=predictor, seed=3)


def requests(ask: PredictivePolicy, episodes: int, seed: int) -> Iterator[tuple[Array, Continuation]]:
    """What a robot asks for while it follows the answers of a policy, two steps late; pushed now and then."""
    robot, plan, chance = PointMass(), Plan(HORIZON, 2, S, WindowQuantile(D)), np.random.default_rng(seed)
    for episode in range(episodes):
        robot.reset(seed + episode)
        plan.reset()
        under_way = None
        for step in range(25):
            if under_way is not None and step - under_way[0].step == D:
                plan.deliver(*under_way)
                under_way = None
            observation = robot.observe()
            if request := plan.request(observation):
                yield observation, request.continuation
                under_way = request, ask.next_chunk(observation, request.continuation)
            action = plan.tick().action
            robot.hold() if action is None else robot.send(action)
            if step % 7 == 6:
                robot.position = robot.position + chance.normal(0, 3, 2)


def local(parts: Parts) -> PredictivePolicy:
    found = bound(parts)
    assert isinstance(found, PredictivePolicy)
    return found


def same(there: RemotePolicy, here: PredictivePolicy, observation: Array, asked: Continuation) -> float:
    """Compare both answers to a request; how surprising both say that it was."""
    answered = there.next_chunk(observation, asked)
    np.testing.assert_array_equal(answered, here.next_chunk(observation, asked))
    np.testing.assert_array_equal(there.surprises, here.surprises)
    return float(there.surprises[0])


def test_a_server_that_is_restarted_answers_a_whole_run_as_the_policy_does_here(parts: Parts, tmp_path: Path) -> None:
    here, address, surprises = local(parts), Address(unix=tmp_path / "socket"), []
    questions = requests(local(parts), episodes=2, seed=0)
    there: RemotePolicy | None = None
    for _ in range(4):
        with running(PolicyServer(bound(parts), address)) as server:
            there = there or RemotePolicy(server.url, deadline=60, patience=60)
            for _ in range(4):
                surprises.append(same(there, here, *next(questions)))
    assert there is not None
    there.close()
    found = np.array(surprises)
    assert np.isnan(found[0])  # nothing led to a first request
    assert (found < 1).any()
    assert (found > 1).any()


def test_two_clients_do_not_disturb_one_another(parts: Parts) -> None:
    """Their requests take turns; with fresh noise each would be given numbers that the other's are made of alone."""
    alone = [local(parts), local(parts)]
    robots = [requests(local(parts), episodes=1, seed=seed) for seed in (0, 50)]
    with served(bound(parts)) as server, remote(server.url) as one, remote(server.url) as other:
        for _ in range(6):
            for client, here, robot in zip((one, other), alone, robots, strict=True):
                same(client, here, *next(robot))


def test_the_noise_of_an_episode_is_that_of_its_number(parts: Parts) -> None:
    """A client that says no number, as one of before, is answered as in episode 0."""
    with served(bound(parts)) as server, remote(server.url) as there:
        observation, asked = next(requests(local(parts), episodes=1, seed=0))
        answers = [there.next_chunk(observation, replaced) for replaced in (asked, *_episodes(asked, (0, 0, 2)))]
        assert asked.episode == 1
        assert not np.array_equal(answers[0], answers[1])
        assert np.array_equal(answers[1], answers[2])
        assert not np.array_equal(answers[1], answers[3])


def _episodes(asked: Continuation, numbers: tuple[int, ...]) -> list[Continuation]:
    return [Continuation(asked.start, asked.prefix, asked.delay, S, asked.votes, episode=each) for each in numbers]


def test_a_policy_that_predicts_nothing_is_not_surprised() -> None:
    asked = Continuation(0, np.zeros((0, 2), np.float32), 0, S)
    with served(Affine()) as server, remote(server.url) as there:
        there.next_chunk(STATE, asked)
        assert np.isnan(there.surprises).tolist() == [True]


def test_a_surprise_is_that_of_the_last_answer() -> None:
    """One that a server says nothing of does not keep the one before."""
    said = [{"segue/surprise": 1.5}, {}, {"segue/surprise": 0.25}]

    def surprised(connection: ServerConnection) -> None:
        connection.send(encode_card(Card(SPEC)))
        for more, frame in zip(said, connection, strict=False):
            assert isinstance(frame, bytes)
            number = openpi_read(frame)["segue/id"]
            connection.send(openpi_frame({"actions": np.zeros((8, 2), np.float32), "segue/id": number} | more))

    found = []
    with fake(surprised) as url, remote(url) as there:
        for _ in said:
            there.next_chunk(STATE, Continuation(0, np.zeros((0, 2), np.float32), 0, S))
            found += there.surprises.tolist()
    np.testing.assert_array_equal(found, [1.5, np.nan, 0.25])
