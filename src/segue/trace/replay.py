"""Driving a plan again from a trace: the same requests, the same deliveries at the same steps.

    trace    tick, chunk, tick, tick, ...
               |      |      |
    plan     tick  deliver  tick       says the same, or the first difference is named

What a plan decides depends on nothing but these calls, so that a trace that was recorded on a robot can be stepped
through at a desk, and a change of the plan can be tried on yesterday's run.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from segue.errors import DataError, SpecError, TimingError
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Delivery, Event, Handover, Plan, Request
from segue.plan.trigger import trigger
from segue.trace.file import Trace
from segue.trace.records import DELIVERIES, EVENTS

_Came: TypeAlias = defaultdict[tuple[int, int, bool], list[Any]]
"""Records by epoch, step, and whether they came after a request of that step."""


@dataclass(frozen=True)
class Difference:
    """Names the epoch and step in which plan and trace first differ, and what each of them says."""

    place: str
    recorded: str
    replayed: str


@dataclass(frozen=True)
class Replay:
    """Counts the ticks, requests and deliveries that agree, up to the first difference, or None."""

    ticks: int
    requests: int
    deliveries: int
    difference: Difference | None


class _Parted(Exception):  # noqa: N818  # it carries a finding, not an error
    """The first difference."""


def plan_of(header: Mapping[str, Any]) -> Plan:
    """Make a plan as the header's ``plan`` describes it (`plan_header`); raises `DataError` where it does not."""
    try:
        plan = header["plan"]
        sizes = (int(plan[name]) for name in ("horizon", "action", "execution_horizon"))
        delay, handover = WindowQuantile(**plan["delay"]), Handover(plan["handover"])
        return Plan(*sizes, delay=delay, handover=handover, trigger=trigger(plan["trigger"]))
    except (KeyError, TypeError, ValueError, SpecError, TimingError) as error:
        raise DataError(
            got=f"a trace whose header describes no plan ({error!r})",
            expected="a 'plan' with horizon, action, execution_horizon, handover, trigger and delay",
            change="put `plan_header(plan)` into the header as 'plan'",
        ) from error


class _Driver:
    """A plan, and the deliveries that a trace has for each of its steps."""

    def __init__(self, trace: Trace) -> None:
        self.plan = plan_of(trace.header)
        self.place = "before the first tick"
        self.asked: dict[int, Request] = {}
        self.requests = self.deliveries = 0
        self.parts, self.due = _Came(list), _Came(list)
        for chunk in trace.chunks[trace.chunks["outcome"] != DELIVERIES.index(Delivery.STALE)]:
            # (A stale one changes nothing, and arrived in an epoch that its record does not name.)
            self.due[_place(chunk)].append(chunk)
        for part in trace.parts:
            self.parts[_place(part)].append(part)

    def compare(self, what: str, recorded: object, replayed: object) -> None:
        if recorded != replayed:
            raise _Parted(Difference(self.place, f"{what} {recorded}", f"{what} {replayed}"))

    def deliver(self, *, after_request: bool) -> None:
        place = self.plan.epoch, self.plan.step, after_request
        for part in self.parts.pop(place, ()):  # before what else came in the step
            there = np.isfinite(part["actions"]).all(1).cumprod().sum()
            taken = self.plan.deliver_part(self._answered(part), part["actions"][:there])
            self.compare(f"part of chunk {part['number']} taken", True, taken)
        for chunk in self.due.pop(place, ()):
            request, outcome = self._answered(chunk), DELIVERIES[int(chunk["outcome"])]
            if outcome is None:
                self.plan.abandon(request)
            else:
                try:
                    replayed = self.plan.deliver(request, np.array(chunk["actions"], np.float32)).value
                except SpecError as error:
                    replayed = f"refused: {error.got}"
                self.compare(f"chunk {request.number} is", outcome.value, replayed)
            del self.asked[request.number]
            self.deliveries += 1

    def _answered(self, chunk: Any) -> Request:
        number = int(chunk["number"])
        if (request := self.asked.get(number)) is None:
            raise _Parted(Difference(self.place, f"an answer to request {number}", "did not ask for it"))
        self.compare(f"chunk {number}, asked for at step", int(chunk["requested"]), request.step)
        return request

    def request(self, recorded: int | None) -> None:
        request = self.plan.request()
        self.compare("request", recorded, request and request.number)
        if request is not None:
            self.asked = {request.number: request}  # at most one is under way
            self.requests += 1

    def tick(self, recorded: Any) -> None:
        while self.plan.epoch < recorded["epoch"]:
            self.plan.reset()
        self.place = f"epoch {recorded['epoch']}, step {recorded['step']}"
        at = int(recorded["epoch"]), int(recorded["step"])
        self.compare("epoch and step", at, (self.plan.epoch, self.plan.step))
        self.deliver(after_request=False)
        if recorded["asked"]:
            self.request(_number(recorded["request"]))
        self.deliver(after_request=True)
        stood = EVENTS[int(recorded["event"])] is Event.STOOD  # the ladder's doing, which the plan is told
        replayed = self.plan.stand() if stood else self.plan.tick()
        self.compare("event", EVENTS[int(recorded["event"])].value, replayed.event.value)
        for name in ("chunk", "index", "delay"):
            self.compare(name, _number(recorded[name]), getattr(replayed, name))


def _place(chunk: Any) -> tuple[int, int, bool]:
    """Read when a chunk came."""
    return int(chunk["epoch"]), int(chunk["arrived"]), bool(chunk["after_request"])


def _number(recorded: Any) -> int | None:
    """Read a number, such as a request's, where below 0 means none."""
    return None if recorded < 0 else int(recorded)


def replay(trace: Trace) -> Replay:
    """Drive a plan from a trace up to the first difference.

    Raises:
        DataError: The header describes no plan, or chunks are missing from the trace because it was full.
    """
    if trace.dropped[1]:
        raise DataError(
            got=f"a trace that had no room for {trace.dropped[1]} chunks",
            expected="every chunk that was delivered",
            change="record with room for more chunks",
        )
    driver, ticks = _Driver(trace), 0
    try:
        for recorded in trace.ticks:
            driver.tick(recorded)
            ticks += 1
    except _Parted as parted:
        return Replay(ticks, driver.requests, driver.deliveries, parted.args[0])
    return Replay(ticks, driver.requests, driver.deliveries, None)
