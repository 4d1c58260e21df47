"""Policies whose reset fails, under the engine of LeRobot."""

import pytest

from fakes.lerobot_engine import Counting, engine_of, run
from segue.integrations.lerobot.engine import MAX_FAILURES


class Stuck(Counting):
    """Cannot be reset so many times."""

    stuck = 0

    def reset(self) -> None:
        if self.stuck:
            self.stuck -= 1
            raise RuntimeError("busy")
        super().reset()


@pytest.mark.parametrize("stuck", [1, 4, 1000])
def test_a_policy_that_cannot_be_reset_is_asked_nothing_until_it_can(stuck: int) -> None:
    """Otherwise it would go on in the episode before; each try is a failure."""
    policy = Stuck()
    engine, worker = engine_of(policy, execution_horizon=4)
    run(engine, worker, 7, finished=lambda _: True)
    policy.stuck, asked = stuck, len(policy.asked)
    engine.reset()
    run(engine, worker, 40, finished=lambda _: True)
    assert engine.failed == (stuck > MAX_FAILURES)
    assert policy.resets == (1 if engine.failed else 2)
    assert (len(policy.asked) == asked) == engine.failed
