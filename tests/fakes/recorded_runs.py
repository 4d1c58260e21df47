"""What the tests of traces work with: the point mass driven by a plan in virtual time, recorded."""

from pathlib import Path
from typing import Any

import numpy as np

from fakes import point_mass
from segue.core.chunk import Continuation
from segue.core.robot import RobotSpec
from segue.plan.delay import WindowQuantile
from segue.plan.plan import Event, Handover, Plan, Request
from segue.plan.trigger import FIXED_HORIZON, Trigger
from segue.trace.file import TraceWriter, plan_header
from segue.trace.measures import robot_header
from segue.trace.records import ChunkRecord, TickRecord

LADDER = ("run", "hold")
HORIZON, EXECUTION_HORIZON = 12, 4


def towards(observation: np.ndarray, continuation: Continuation) -> np.ndarray:
    """A straight way to the goal, with a wobble of its own for each chunk."""
    way = np.linspace(0.1, 1, HORIZON)[:, None]
    wobble = 0.05 * np.sin(continuation.start + np.arange(HORIZON))[:, None]
    return (observation[:2] + way * (observation[2:] - observation[:2]) + wobble).astype(np.float32)


class Run:
    """One run: the plan, the robot and the file, one call per control step."""

    def __init__(
        self,
        path: Path,
        handover: Handover = Handover.CONTINUE,
        trigger: Trigger = FIXED_HORIZON,
        spec: RobotSpec = point_mass.SPEC,
        scale: np.ndarray | None = None,
        cruise_speed: float | None = None,
        **sizes: Any,
    ) -> None:
        self.robot = point_mass.PointMass(spec)
        self.plan = Plan(HORIZON, 2, EXECUTION_HORIZON, WindowQuantile(2), handover, trigger)
        header = {
            "robot": robot_header(spec, scale, cruise_speed),
            "plan": plan_header(self.plan),
            "ladder": list(LADDER),
            "created": "2026-01-01T00:00:00+00:00",
        }
        room = {"ticks": 400, "chunks": 100} | sizes
        self.writer = TraceWriter(path, header, action=2, observation=4, pose=2, horizon=HORIZON, **room)
        self.under_way: tuple[int, Request, np.ndarray] | None = None
        self.slot = 0
        self.moved = False
        self.surprises: list[float] = []
        """Of the chunks that will be delivered next."""

    def reset(self, seed: int) -> None:
        self.robot.reset(seed)
        self.plan.reset()
        self.moved = False

    def deliver(self, *, after_request: bool) -> None:
        if self.under_way is None or self.under_way[0] > self.slot:
            return
        _, request, actions = self.under_way
        self.under_way = None
        outcome = self.plan.deliver(request, actions)
        surprise = self.surprises.pop(0) if self.surprises else np.nan
        self.writer.chunk(
            ChunkRecord(request, outcome, actions, self.plan.step, after_request, 0.1 * request.number, surprise)
        )

    def step(self, delay: int, *, damage: bool = False, lost: bool = False, sends_holds: bool = True) -> None:
        """One tick; an inference that starts in it takes ``delay`` steps, or its answer is damaged or lost."""
        self.deliver(after_request=False)
        observation = self.robot.observe()
        request = self.plan.request(observation)
        if request is not None:
            actions = towards(observation, request.continuation)
            actions[3] = np.nan if damage else actions[3]
            self.under_way = (self.slot + delay, request, actions)
            if lost:
                self.under_way = None
                self.plan.abandon(request)
                self.writer.chunk(ChunkRecord(request, None, None, self.plan.step, after_request=True, seconds=9.0))
        self.deliver(after_request=True)
        pose, tick = self.robot.pose(), self.plan.tick()
        if tick.action is None:
            self.robot.hold()
        else:
            self.robot.send(tick.action)
        held = tick.event is Event.HELD
        self.moved |= not held
        self.writer.tick(TickRecord(
            self.slot, tick, self.plan.epoch, time=0.1 * self.slot, lateness=1e-4 * (self.slot % 7),
            ladder=int(held), request=request and request.number,
            sent=None if held and not (sends_holds and self.moved) else self.robot.target,
            observation=observation, pose=pose,
        ))  # fmt: skip
        self.slot += 1
