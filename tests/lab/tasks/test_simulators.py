"""What holds for every simulator alike."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from segue.core.observation import stacked, state_of
from segue.core.robot import RobotSpec, Simulator, check_robot
from segue.errors import SegueError, SpecError
from segue.lab.tasks.adroit_door import AdroitDoor
from segue.lab.tasks.adroit_pen import AdroitPen
from segue.lab.tasks.contact import board_writing, peeling, wipe
from segue.lab.tasks.metaworld import MetaWorld
from segue.lab.tasks.push_t import PushT
from segue.lab.tasks.push_t_pixels import PushTPixels

SIMULATORS: dict[str, Callable[[], Simulator]] = {
    "adroit-door": AdroitDoor,
    "adroit-pen": AdroitPen,
    "push-t": PushT,
    "push-t-pixels": PushTPixels,
    "peg-insert-side": partial(MetaWorld, "peg-insert-side"),
    "hammer": partial(MetaWorld, "hammer"),
    "wipe": wipe.simulator,
    "board-writing": board_writing.simulator,
    "peeling": peeling.simulator,
}


@pytest.fixture(scope="module", params=SIMULATORS)
def simulator(request: pytest.FixtureRequest) -> Simulator:
    return SIMULATORS[request.param]()


def random_actions(spec: RobotSpec, steps: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(0)
    return generator.uniform(spec.action_low, spec.action_high, (steps, len(spec.action_names))).astype(np.float32)


def test_simulator_keeps_to_the_protocol(simulator: Simulator):
    check_robot(simulator)


def test_an_episode_repeats_bit_for_bit_whatever_came_before(simulator: Simulator):
    actions = random_actions(simulator.spec, 15)

    def play() -> NDArray[np.float32]:
        simulator.reset(7)
        seen = [simulator.observe()]
        for action in actions:
            simulator.send(action)
            seen.append(simulator.observe())
        return state_of(stacked(seen))

    first = play()
    simulator.reset(8)
    for action in actions[::-1]:
        simulator.send(action)
    np.testing.assert_array_equal(play(), first)


def test_another_instance_starts_in_the_same_state(simulator: Simulator):
    other = SIMULATORS[simulator.spec.name.removeprefix("metaworld/")]()
    other.reset(11)
    simulator.reset(11)
    np.testing.assert_array_equal(state_of(other.observe()), state_of(simulator.observe()))
    # Two instances share no state: moving one leaves the other where it is
    before = state_of(other.observe())
    for action in random_actions(simulator.spec, 5):
        simulator.send(action)
    np.testing.assert_array_equal(state_of(other.observe()), before)


def test_seeds_give_different_states(simulator: Simulator):
    states = []
    for seed in range(5):
        simulator.reset(seed)
        states.append(tuple(state_of(simulator.observe()).tolist()))
    assert len(set(states)) == 5


def test_an_action_of_the_wrong_shape_or_not_finite_is_refused(simulator: Simulator):
    simulator.reset(0)
    actions = len(simulator.spec.action_names)
    with pytest.raises(SpecError, match="action of shape"):
        simulator.send(np.zeros(actions + 1, np.float32))
    with pytest.raises(SpecError, match="not finite"):
        simulator.send(np.full(actions, np.nan, np.float32))


def test_score_never_falls(simulator: Simulator):
    simulator.reset(1)
    scores = [simulator.outcome().score]
    for action in random_actions(simulator.spec, 30):
        simulator.send(action)
        scores.append(simulator.outcome().score)
    assert np.all(np.diff(scores) >= 0)
    assert not simulator.outcome().finished


def test_a_picture_or_an_explanation(simulator: Simulator):
    simulator.reset(0)
    try:
        picture = simulator.frame()
    except SegueError as error:
        explanation = str(error)
    else:
        assert (picture.ndim, picture.shape[2], picture.dtype) == (3, 3, np.uint8)
        assert picture.std() > 0
        return
    assert "MUJOCO_GL" in explanation
