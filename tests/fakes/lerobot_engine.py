"""LeRobot's engine with a worker that finishes when the test says so."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.core.chunk import Continuation
from segue.integrations.lerobot.engine import EngineSettings, Inferred, PlanEngine
from segue.trace.sink import Sink

HORIZON, NAMES = 12, ("x.pos",)


class ByHand(Executor):
    """Runs what was submitted when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future, Callable, tuple]] = []

    def submit(self, fn: Callable, /, *args: Any, **_: Any) -> Future:
        future: Future = Future()
        self.waiting.append((future, fn, args))
        return future

    def finish(self) -> None:
        for future, fn, args in self.waiting:
            future.set_result(fn(*args))
        self.waiting = []


class Counting:
    """Action i of the chunk for the observation of step k is k + i; what is raw is that, times ten."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Tensor | None, Continuation]] = []
        self.resets, self.ended, self.broken = 0, 0, False

    def infer(self, observation: Mapping[str, Any], leftover: Tensor | None, continuation: Continuation) -> Inferred:
        if self.broken:
            raise RuntimeError("no policy")
        self.asked.append((observation["step"], leftover, continuation))
        actions = (observation["step"] + np.arange(HORIZON, dtype=np.float32))[:, None]
        return Inferred(10 * torch.from_numpy(actions), actions)

    def reset(self) -> None:
        self.resets += 1

    def end(self) -> None:
        self.ended += 1


def engine_of(
    policy: Counting, dt: float = 1.0, sink: Sink | None = None, **settings: Any
) -> tuple[PlanEngine, ByHand]:
    """An engine that waits for one step after a failure, unless its steps are shorter than a second."""
    worker = ByHand()
    engine = PlanEngine(
        policy.infer, EngineSettings(**settings), dt=dt, reset_policy=policy.reset, end=policy.end, worker=worker,
        sink=sink,
    )  # fmt: skip
    engine.start()
    engine.reset()
    engine.resume()
    return engine, worker


def run(engine: PlanEngine, worker: ByHand, steps: int, finished: Callable[[int], bool]) -> list[float | None]:
    """Actions of each step; what was submitted is finished before the steps that ``finished`` names."""
    taken = []
    for step in range(steps):
        if finished(step):
            worker.finish()
        engine.notify_observation({"step": step})
        action = engine.get_action(None)
        taken.append(None if action is None else action.item())
    return taken
