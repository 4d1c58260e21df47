"""What a plan and a policy say to each other: which failures are remembered, and how long one waits after them."""

import numpy as np
import pytest

from fakes.clock_robot_link import HORIZON, FakeClock, FakeLink, Log, wave
from segue.core.chunk import Array
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Plan, Request
from segue.runtime.inference import Conversation

DT = 0.125  # its multiples are exact


class Said:
    """A conversation with a policy that answers at once what ``answers`` has for each request; None is a good chunk."""

    def __init__(self, *answers: str | Array | None) -> None:
        self.clock, self.log = FakeClock(time=0.0), Log()
        self.link = FakeLink(self.clock, answer=self.answer)
        self.answers = list(answers)
        self.conversation = Conversation(Plan(HORIZON, 2, 1, WindowQuantile(0)), self.link, self.log, DT)

    def answer(self, request: Request, seen: Array) -> str | Array:
        answer = self.answers.pop(0) if self.answers else None
        return wave(request, seen) if answer is None else answer

    def step(self) -> str:
        """One control step; the root cause behind it."""
        conversation, now = self.conversation, self.clock.time
        conversation.deliver(now, after_request=False)
        if conversation.ready(now):
            conversation.request(np.zeros(3, np.float32))
        conversation.deliver(now, after_request=True)
        conversation.plan.tick()
        self.clock.time += DT
        return conversation.said.root_cause

    def until(self, requests: int) -> list[float]:
        """When so many requests were made [s]."""
        made = []
        while len(self.link.requests) < requests:
            before = len(self.link.requests)
            self.step()
            made += [self.clock.time - DT] * (len(self.link.requests) - before)
        return made


def test_the_root_cause_is_the_first_failure_since_the_last_good_chunk() -> None:
    said = Said("first", "second")
    said.until(2)
    assert said.conversation.said.root_cause == "first"
    assert said.conversation.lost
    said.until(3)
    assert said.conversation.said.root_cause == ""
    assert not said.conversation.lost
    said.answers.append("third")
    said.until(4)
    assert said.conversation.said.root_cause == "third"
    said.conversation.reset()
    assert said.conversation.said.root_cause == ""
    assert not said.conversation.lost


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("RuntimeError: no", "RuntimeError: no"),
        (np.full((HORIZON, 2), np.nan, np.float32), "a chunk that is not finite"),
        (np.zeros((HORIZON, 3), np.float32), f"chunk of shape ({HORIZON}, 3)"),
        (np.full((HORIZON, 2), "1"), "a chunk of <U1, not of real numbers"),
    ],
)
def test_every_failure_is_named_and_forgotten_after_a_good_chunk(bad: str | Array, why: str) -> None:
    said = Said(bad)
    assert said.step() == why
    said.until(2)
    assert said.conversation.said.root_cause == ""
    assert said.conversation.said.outcomes[Delivery.TAKEN] == 1


def test_the_wait_doubles_with_every_failure_up_to_a_second_and_is_short_again_after_a_good_chunk() -> None:
    asked = Said(*["no"] * 6, None, "no").until(9)
    assert np.diff(asked).tolist() == [0.125, 0.25, 0.5, 1.0, 1.0, 1.0, 0.125, 0.125]
