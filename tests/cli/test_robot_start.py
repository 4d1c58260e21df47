"""The start on a busy machine: how long is waited, what is said, and what is offered before anything is trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes.towards_policy import SPEC
from segue.cli import robot as start
from segue.cli.robot import planned, settled
from segue.core.observation import Observed
from segue.errors import PolicyError, TimingError
from segue.links.link import Answer, Hello
from segue.plan.plan import Handover, Request

HELLO = Hello(SPEC, Handover.CONTINUE, 0.21)  # chunks of 8 at 50 Hz: at most 4 steps, 80 ms


class Link:
    """Answers at once, on a clock that says how long that took; the last time is every later one's."""

    def __init__(self, *seconds: float, error: str = "") -> None:
        self.seconds, self.error = list(seconds), error
        self.time, self.epoch, self.asked = 0.0, -1, 0
        self.answer: Answer | None = None

    def now(self) -> float:
        return self.time

    def new_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def send(self, request: Request, observation: Observed) -> None:
        self.time += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        self.asked += 1
        actions = None if self.error else np.zeros((8, 2), np.float32)
        self.answer = Answer(request.epoch, request.number, actions, 0.0, self.error)
        part = Answer(request.epoch, request.number, np.zeros((1, 2), np.float32), 0.0, more=True)
        self.parts = [] if self.error else [part, part]

    def poll(self) -> Answer | None:
        return self.parts.pop() if self.parts else self.answer


def short(seconds: float) -> bool:
    return seconds <= 0.08


def settle(link: Any, fits: Callable[[float], bool] = short, hello: Hello = HELLO) -> float:
    return settled(link, hello, fits, 10.0, now=link.now)


def test_a_machine_that_becomes_quiet_is_waited_for_until_two_medians_agree() -> None:
    link = Link(*[0.2] * 6, *[0.03] * 6, *[0.06] * 6, 0.059)
    assert settle(link) == pytest.approx(0.059)
    assert link.asked == 4 * 6


def test_a_machine_that_stays_busy_is_waited_for_no_longer_than_said() -> None:
    link = Link(0.2)
    assert settle(link) == pytest.approx(0.2)
    assert 10 <= link.time < 10 + 6 * 0.2


def test_a_policy_that_does_not_answer_is_not_waited_for() -> None:
    with pytest.raises(PolicyError, match="out of memory"):
        settle(Link(0.01, error="out of memory"))


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str]]:
    """A plan at 50 Hz, and what is said about it."""
    monkeypatch.setattr(start.console, "_width", 300)

    def made(hello: Hello = HELLO, after: float = 0.0, s: int = 3, dt: float = 0.02) -> tuple[Any, str]:
        monkeypatch.setattr(start, "settled", lambda *_: after)
        found = planned(Link(0.0), hello, dt, s, 1.0, "fixed")  # type: ignore[arg-type]
        return found, capsys.readouterr().out

    return made


def test_a_quiet_start_waits_for_nothing(plan: Callable[..., tuple[Any, str]]) -> None:
    found, said = plan(replace(HELLO, inference=0.05))
    assert found.delay.estimate() == 3
    assert said.startswith("policy: chunks of 8, 50.0 ms per inference, planned delay 3 of 3 steps at 50 Hz")
    assert "busy" not in said


def test_a_busy_start_says_what_it_was_and_plans_with_what_it_is(plan: Callable[..., tuple[Any, str]]) -> None:
    found, said = plan(after=0.035)
    assert found.delay.estimate() == 2
    assert "the machine was busy: inference took 210 ms at the start, 35 ms since" in " ".join(said.split())


def test_what_is_offered_works_and_comes_before_training(plan: Callable[..., tuple[Any, str]]) -> None:
    with pytest.raises(TimingError, match=r"190 ms \(210 ms at the start\): 10 steps at 50 Hz") as refused:
        plan(after=0.19)
    change = refused.value.change
    assert change.index("--rate") < change.index("segue doctor") < change.index("horizon")
    rate = float(change.split("--rate ")[1].split(")")[0])
    assert plan(after=0.19, dt=1 / rate)[0].horizon == 8
    horizon = int(change.rpartition(" ")[2])
    assert plan(Hello(replace(SPEC, horizon=horizon), Handover.CONTINUE, 0.19))[0].horizon == horizon


def test_what_fits_at_no_speed_is_not_waited_for(plan: Callable[..., tuple[Any, str]]) -> None:
    with pytest.raises(TimingError, match="execution horizon 9"):
        plan(s=9)
