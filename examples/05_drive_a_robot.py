"""Drive a robot in wall-clock time: the plan decides, a worker infers, the loop keeps its deadlines.

Robot and policy are stand-ins. Nothing here imports torch: on a robot, the policy lives in a process of its own.

    python examples/05_drive_a_robot.py [control steps]
"""

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from segue.robot import Array, Continuation, Event, Plan, Request, WindowQuantile

DT, HORIZON = 0.02, 32


class Robot:
    """A point that goes half of the way to its target in every step."""

    position = np.ones(2)

    def send(self, action: Array) -> None:
        """One control step."""
        self.position = (self.position + action) / 2


def infer(observation: Array, continuation: Continuation) -> Array:
    time.sleep(0.07)  # three to four control steps
    fade = np.linspace(1, 0, HORIZON, dtype=np.float32)[:, None] ** 2
    committed = continuation.prefix[: continuation.delay]
    return np.concatenate([committed, (fade * observation)[len(committed) :]])


def main(steps: int) -> None:
    robot, plan = Robot(), Plan(HORIZON, 2, 10, WindowQuantile(initial=4))
    under_way: tuple[Request, Future[Array]] | None = None
    deadline = time.monotonic()
    with ThreadPoolExecutor(1) as worker:
        for _ in range(steps):
            if under_way and under_way[1].done():
                plan.deliver(under_way[0], under_way[1].result())
                under_way = None
            if request := plan.request():
                under_way = request, worker.submit(infer, robot.position.astype(np.float32), request.continuation)
            tick = plan.tick()
            if tick.action is not None:
                robot.send(tick.action)
            if tick.event is Event.SWITCHED:
                print(f"step {tick.step}: chunk {tick.chunk} takes over at its position {tick.index}")
            deadline += DT  # absolute deadlines do not add up what each step was late
            time.sleep(max(deadline - time.monotonic(), 0))
    print(f"distance to the goal: {np.linalg.norm(robot.position):.3f}")


if __name__ == "__main__":
    main(steps=int(sys.argv[1]) if len(sys.argv) > 1 else 150)
