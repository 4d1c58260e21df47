"""Virtual-time rollouts of chunks whose first actions are there before their last ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fakes.point_mass import PointMass, policy
from segue.core.chunk import Array, Continuation
from segue.core.metrics import EpisodeRecord
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing, rollout
from segue.plan.plan import Handover
from segue.policies.chunk_policy import BatchChunkPolicy, ContinuingPolicy
from segue.strategies.faster import FASTER
from segue.strategies.naive import Naive

HORIZON = 8


def run(made: BatchChunkPolicy, when: Timing, seeds: Sequence[int] = (0,)) -> list[EpisodeRecord]:
    return rollout(made, [PointMass() for _ in seeds], seeds, when, Scales(np.ones(2, np.float32), 1.0))


@dataclass
class Numbered:
    """Action j of the n-th call is (n / 100, j / 100); never reaches a goal. Keeps what it was asked."""

    asked: list[Sequence[Continuation]] = field(default_factory=list)

    def next_chunks(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Array:
        self.asked.append(continuations)
        one = np.stack([np.full(HORIZON, len(self.asked)), np.arange(HORIZON)], 1).astype(np.float32) / 100
        return np.repeat(one[None].astype(np.float32), len(continuations), axis=0)


class InParts(Numbered):
    """After a quarter of the inference the first free action of each robot is finished, after half of it four."""

    def next_parts(
        self, observations: Array, continuations: Sequence[Continuation], generators: Sequence[torch.Generator]
    ) -> Iterator[tuple[float, NDArray[np.int64], Array]]:
        chunks = self.next_chunks(observations, continuations, generators)
        d = np.array([each.delay for each in continuations])
        for share, free in ((0.25, 1), (0.5, 4), (1.0, HORIZON)):
            yield share, np.minimum(d + free, HORIZON if share == 1 else HORIZON - 1), chunks


def test_first_actions_that_are_finished_first_are_executed_first() -> None:
    """An inference of 4 steps: actions come after 1, 2 and 4 of them, and the robot goes over after 1."""
    when = Timing(HORIZON, 4, Fixed(4), Handover.CONTINUE, 40)
    [whole], made = run(Numbered(), when), InParts()
    [record] = run(made, when)
    assert {seam.delay for seam in whole.seams} == {4}
    assert {seam.delay for seam in record.seams} == {1}
    told = [continuation.delay for [continuation] in made.asked]
    assert set(told[2:]) == {1}
    assert set(np.diff([seam.step for seam in record.seams])) == {4}
    for n, seam in enumerate(record.seams, start=2):  # seams show whole plans
        [asked] = made.asked[n - 1]
        assert np.array_equal(seam.old, asked.prefix)
        assert (100 * seam.new[:, 0]).round().tolist() == [n] * HORIZON
    executed = [f"{round(100 * float(call))}:{round(100 * float(j))}" for call, j in record.commands]
    assert executed[4:13] == ["1:0", "2:1", "2:2", "2:3", "2:4", "3:1", "3:2", "3:3", "3:4"]


def test_in_virtual_time_faster_reacts_with_its_first_part() -> None:
    """Of chunks of 32, an inference of 5 control steps: what is committed is 1 step, and nothing waits for a part."""
    made = ContinuingPolicy(policy(horizon=32), FASTER())
    when = Timing(32, 8, Fixed(5), Handover.CONTINUE, 80)
    records = run(made, when, (0, 1))
    plain = run(ContinuingPolicy(policy(horizon=32), Naive()), when, (0, 1))
    for record, other in zip(records, plain, strict=True):
        assert {seam.delay for seam in other.seams} == {5}
        assert {seam.delay for seam in record.seams} == {1}
        assert set(np.diff([seam.step for seam in record.seams])) == {8}
