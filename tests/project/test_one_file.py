"""What CONTRIBUTING says of new things: one file and one line, shown for each with what stands in this file."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from fakes.clock_robot_link import cell
from fakes.point_mass import PointMass, demonstrations, recipe
from segue.core.chunk import nothing_to_continue
from segue.core.robot import check_robot
from segue.lab.delays import Fixed
from segue.lab.rollout import Scales, Timing, rollout
from segue.lab.tasks import tasks
from segue.lab.tasks.task import Task
from segue.methods import methods
from segue.methods.methods import Method
from segue.plan.plan import Handover
from segue.policies import encoders, families, networks
from segue.policies.families import Family
from segue.policies.flow import FlowPolicy, FlowPolicyConfig
from segue.strategies.hooks import Hooks, Prefix, no_weights

ROOT = Path(__file__).parents[2]


class Halved:
    """A strategy: every chunk is half as large."""

    def hooks(self, prefix: Prefix) -> Hooks:
        return Hooks(no_weights(prefix), finish=lambda actions: 0.5 * actions)


def test_a_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "halved", Method("halved", "Halved", "plain", Halved(), citation=""))
    policy = recipe().policy(demonstrations()).eval()
    seen = np.zeros(4, np.float32)
    whole, half = (
        methods.method(name).bound(policy).next_chunk(seen, nothing_to_continue(0, 2, 3))
        for name in ("naive", "halved")
    )
    middle = 2 * half - whole  # what a normalised zero stands for, at every position the same
    np.testing.assert_allclose(middle, np.broadcast_to(middle[0], middle.shape), atol=1e-5)
    assert not np.allclose(half, whole, atol=1e-3)


def test_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS, "point", Task("point", "a point mass", 0.1, 20, 8, 3, PointMass, demonstrations))
    found = tasks.task("point")
    policy = methods.method("naive").bound(recipe().policy(found.demonstrations()).eval())
    timing = Timing(8, 3, Fixed(1), Handover.CONTINUE, found.max_steps)
    scales = Scales.of(found.demonstrations(), found.simulator().spec)
    assert len(rollout(policy, [found.simulator()], [0], timing, scales)) == 1


def test_a_robot() -> None:
    check_robot(PointMass())
    made = cell()
    assert made.executor is not None


def test_every_file_and_registry_that_is_named_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("| a new ... |") : text.index("A task's recipe is")]
    for word in {word for line in table.splitlines() for word in line.split("`")[1::2] if word.endswith(".py")}:
        home = ROOT if word.startswith("examples/") else ROOT / "src" / "segue"
        assert (home / word).is_file(), word
    for registry in (networks.NETWORKS, families.FAMILIES, encoders.ENCODERS, methods.METHODS, tasks.TASKS):
        assert isinstance(registry, dict)


def test_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(FlowPolicy):
        """A family of its own: what it is trained for and how it is asked are those of flow policies."""

    @dataclass(frozen=True)
    class MineConfig(FlowPolicyConfig):
        family: ClassVar[str] = "mine"

    monkeypatch.setitem(families.FAMILIES, "mine", Family(MineConfig, Mine))
    assert type(recipe(family="mine").policy(demonstrations())) is Mine
