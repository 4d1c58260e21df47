"""What the correction of an action costs in a control step, for the robots of two tasks.

OMP_NUM_THREADS=1 python benchmarks/correction.py
"""

import time

import numpy as np

from segue.core.correction import Residual

SIZES = {"push-t": (5, 2), "adroit-door": (39, 28)}
"""Numbers of a state and of an action."""
CALLS = 3000


def microseconds(seen: int, acted: int) -> float:
    """Median of the calls of a network of the default width."""
    draw = np.random.default_rng(0)
    sizes = ((seen + acted + 2, 256), (256, 512), (512, acted))
    weights = [draw.normal(size=size).astype(np.float32) for size in sizes]
    biases = [np.zeros(size, np.float32) for _, size in sizes]
    units = [(np.zeros(size, np.float32), np.ones(size, np.float32)) for size in (seen, acted)]
    correction, taken = Residual(weights, biases, units[0], units[1], horizon=32), list[float]()
    for index in range(CALLS):
        started = time.perf_counter()
        correction.corrected(units[0][1], units[1][1], index % 32)
        taken.append(time.perf_counter() - started)
    return 1e6 * float(np.median(taken))


if __name__ == "__main__":
    for name, size in SIZES.items():
        print(f"{name}: {microseconds(*size):.0f} us")
