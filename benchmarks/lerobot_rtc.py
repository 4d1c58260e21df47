"""LeRobot's `RTCProcessor` and our RTC in one run: same network, noise, prefix, schedule and clip.

Both forms of ours are measured, the identity form (which is what LeRobot computes) and the vector-Jacobian product of
the paper. Times are taken in turns, in memory the most that tensors hold at once while a chunk is sampled, beyond what
the network holds. Runs where LeRobot is installed (`make test-lerobot` makes such an environment):

    .venv-lerobot/bin/python benchmarks/lerobot_rtc.py [--rounds 30] [--network transformer] [--batch 1]
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from ratios import measure, new_table
from rich.console import Console
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segue.lab.recipes import recipe_for
from segue.lab.tasks.tasks import task
from segue.policies.policy import Policy
from segue.strategies.flow import integrate
from segue.strategies.hooks import Prefix, Strategy
from segue.strategies.naive import Naive
from segue.strategies.rtc import RTC, identity
from segue.strategies.weights import Shape

TASK, STEPS, DELAY, KNOWN, CLIP = "adroit-door", 10, 4, 24, 10.0
SHAPE: Shape = "linear"
PLAIN, THEIRS = "ours, plain", "LeRobot, RTCProcessor"


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside of it hold at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self._alive = 0, dict[StorageWeakRef, int]()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        self._alive = {storage: size for storage, size in self._alive.items() if not storage.expired()}
        self.bytes = max(self.bytes, sum(self._alive.values()))
        return out


def ways(policy: Policy, observation: Tensor) -> dict[str, Callable[[], Tensor]]:
    """One chunk per call, sampled by either library from the same noise towards the same prefix."""
    flow = import_module("lerobot.policies.common.flow_matching")
    rtc = import_module("lerobot.policies.rtc")
    schedule = import_module("lerobot.configs").RTCAttentionSchedule.LINEAR
    config = rtc.RTCConfig(prefix_attention_schedule=schedule, max_guidance_weight=CLIP, execution_horizon=KNOWN)
    batch, horizon = len(observation), policy.spec.horizon
    noise, reference = torch.randn(2, batch, horizon, len(policy.spec.action_names))
    known, delay = torch.full((batch,), KNOWN), torch.full((batch,), DELAY)
    prefix = Prefix(reference, known, delay, votes=torch.ones((batch, horizon), dtype=torch.int64))
    context, weights = policy.units.encode(observation), torch.zeros(batch, horizon)
    network: Any = policy

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return network.velocity(x, t, weights, context)

    @torch.no_grad()
    def theirs(**guided: Any) -> Tensor:
        return flow.euler_integrate(lambda x, t: -velocity(x, 1 - t), noise, STEPS, **guided)

    @torch.no_grad()
    def ours(strategy: Strategy) -> Tensor:
        hooks = strategy.hooks(prefix)
        return integrate(
            lambda x, t: velocity(x, x.new_full((batch,), t)), noise, hooks.weights, reference, steps=STEPS,
            guide=hooks.guide,
        )  # fmt: skip

    guided = {"rtc_processor": rtc.RTCProcessor(config), "rtc_enabled": True, "inference_delay": DELAY,
              "prev_chunk_left_over": reference[:, :KNOWN]}  # fmt: skip
    return {
        PLAIN: partial(ours, Naive()),
        "LeRobot, plain": theirs,
        THEIRS: partial(theirs, **guided),
        "ours, RTC, identity Jacobian": partial(ours, RTC(jacobian=identity, clip=CLIP, shape=SHAPE)),
        "ours, RTC, vector-Jacobian product": partial(ours, RTC(clip=CLIP, shape=SHAPE)),
    }


def peak(work: Callable[[], object]) -> int:
    """Bytes that a call holds at most."""
    with Peak() as most:
        work()
    return most.bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="transformer", help="mlp, mixer, unet or transformer")
    parser.add_argument("--batch", type=int, default=1, help="observations per inference")
    parser.add_argument("--rounds", type=int, default=30)
    chosen = parser.parse_args()
    console = Console()
    if find_spec("lerobot") is None:
        console.print(
            "not measured: LeRobot's RTCProcessor beside ours; LeRobot is not installed here (make test-lerobot)"
        )
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    episodes = task(TASK).demonstrations()
    policy = replace(recipe_for(TASK), network=chosen.network, network_settings={}).policy(episodes).eval()
    work = ways(policy, torch.as_tensor(episodes.observation[: chosen.batch]))
    theirs = work[THEIRS]()
    times, held = measure(work, chosen.rounds, repeats=5), {name: peak(each) for name, each in work.items()}
    console.print(
        f"LeRobot {version('lerobot')}, {chosen.network}, {sum(p.numel() for p in policy.parameters()):,} parameters, "
        f"one thread, Python {sys.version.split()[0]}, torch {torch.__version__}"
    )
    table = new_table(f"One chunk of {STEPS} solver steps, batch {chosen.batch}, over ours, plain", "one chunk")
    for column in ("memory", "from LeRobot's RTC"):
        table.add_column(column, justify="right")
    for name, each in work.items():
        low, middle, high = np.quantile(times[name] / times[PLAIN], (0.25, 0.5, 0.75))
        table.add_row(
            name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", f"{np.median(times[name]) * 1e3:.3g} ms",
            f"{held[name] / held[PLAIN]:.2f}", f"{float((each() - theirs).abs().max()):.1e}",
        )  # fmt: skip
    console.print(table)
    console.print("(the last column: largest difference of an action, in standard deviations)")


if __name__ == "__main__":
    main()
