"""What keeping to the limits costs per control step, as CPU time of one thread.

    python benchmarks/limits.py

Every number is the smallest of several runs: what disturbs a run can only make it longer.
"""

import time
from collections.abc import Callable
from math import pi

import numpy as np
from numpy.typing import NDArray

from segue.safety.ladder import Ladder
from segue.safety.limiter import Limiter
from segue.safety.limits import JointLimits

JOINTS, DT, TICKS, RUNS = 14, 0.02, 2000, 7
NAMES = tuple(f"joint {index}" for index in range(JOINTS))
LIMITS = JointLimits.uniform(
    NAMES, [-pi] * JOINTS, [pi] * JOINTS, unit="rad", velocity=3.0, acceleration=15.0, jerk=500.0
)


def smooth() -> NDArray[np.float64]:
    """Wanted actions inside of all limits: joints swing by 0.5 rad at up to 1 rad/s."""
    rates = 1 + np.arange(JOINTS) / JOINTS
    return 0.5 * np.sin(rates * DT * np.arange(TICKS)[:, None])


def jumping() -> NDArray[np.float64]:
    """Every joint jumps every 25 steps, anywhere in its range, and is never where it is wanted for long."""
    rng = np.random.default_rng(0)
    return np.repeat(rng.uniform(-pi, pi, (TICKS // 25, JOINTS)), 25, axis=0)


def microseconds(prepare: Callable[[], Callable[[int], object]]) -> float:
    """CPU time of one call [us], the smallest of several runs over all steps."""
    best = float("inf")
    for _ in range(RUNS):
        call = prepare()
        started = time.process_time_ns()
        for tick in range(TICKS):
            call(tick)
        best = min(best, (time.process_time_ns() - started) / TICKS / 1000)
    return best


def limiter(wanted: NDArray[np.float64]) -> float:
    """One step of the limiter [us]."""

    def prepare() -> Callable[[int], object]:
        one = Limiter(LIMITS, DT, wanted[0])
        return lambda tick: one.step(wanted[tick])

    return microseconds(prepare)


def ladder(wanted: NDArray[np.float64]) -> float:
    """One step of the ladder with its limiter [us]; actions are float32 arrays, as a plan has them."""
    actions = wanted.astype(np.float32)

    def prepare() -> Callable[[int], object]:
        one = Ladder(LIMITS, DT, actions[0].tolist())
        return lambda tick: one.step(actions[tick])

    return microseconds(prepare)


def stopping() -> float:
    """One step of the limiter while all joints brake from their largest speed [us]."""

    def prepare() -> Callable[[int], object]:
        one = Limiter(LIMITS, DT, [0.0] * JOINTS)
        one.restart([0.0] * JOINTS, [3.0] * JOINTS)
        state = one._now.all.copy()

        def call(tick: int) -> None:
            if tick % 10 == 0:
                one._now.all[:] = state
            one.stop()

        return call

    return microseconds(prepare)


if __name__ == "__main__":
    print(f"{JOINTS} joints, all limits, CPU time per control step, smallest of {RUNS} runs")
    print(f"limiter, inside of the limits   {limiter(smooth()):6.1f} us")
    print(f"limiter, all joints jumping     {limiter(jumping()):6.1f} us")
    print(f"limiter, all joints stopping    {stopping():6.1f} us")
    print(f"ladder, inside of the limits    {ladder(smooth()):6.1f} us")
