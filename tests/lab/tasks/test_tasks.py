import builtins
import sys
from typing import Any

import numpy as np
import pytest

from segue.errors import MissingExtraError, UnknownNameError
from segue.lab.tasks import tasks


def test_every_name_is_a_task():
    names = tasks.names()
    assert len(names) == len(set(names)) == 57
    for name in names:
        task = tasks.task(name)
        assert task.name == name
        assert 0 < task.execution_horizon <= task.horizon <= task.max_steps


@pytest.mark.parametrize(
    ("name", "close"),
    [("adroit_door", "adroit-door"), ("pusht", "push-t"), ("metaworld/peg-insert", "metaworld/peg-insert-side")],
)
def test_an_unknown_task_names_the_closest(name: str, close: str):
    with pytest.raises(UnknownNameError, match=f"did you mean '{close}'"):
        tasks.task(name)


@pytest.mark.parametrize("name", ["adroit-door", "push-t"])
def test_simulator_and_demonstrations_agree(name: str):
    task = tasks.task(name)
    spec, episodes = task.simulator().spec, task.demonstrations()
    assert spec.name == name
    assert spec.dt == task.dt == pytest.approx(episodes.dt)
    assert spec.observation_names == episodes.observation_names
    assert spec.action_names == episodes.action_names
    assert np.all((episodes.action >= spec.action_low) & (episodes.action <= spec.action_high))


def test_metaworld_simulator_and_task_agree():
    task = tasks.task("metaworld/button-press")
    spec = task.simulator().spec
    assert (spec.name, spec.dt) == (task.name, task.dt)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("adroit-door", "gymnasium_robotics"),
        ("adroit-pen", "gymnasium_robotics"),
        ("push-t", "gym_pusht"),
        ("metaworld/reach", "metaworld"),
        ("wipe", "robosuite"),
    ],
)
def test_a_missing_simulator_names_the_extra(name: str, module: str, monkeypatch: pytest.MonkeyPatch):
    for loaded in [key for key in sys.modules if key == module or key.startswith(module + ".")]:
        monkeypatch.delitem(sys.modules, loaded)
    original = builtins.__import__

    def refuse(wanted: str, *rest: Any, **options: Any) -> Any:
        if wanted == module or wanted.startswith(module + "."):
            raise ModuleNotFoundError(wanted)
        return original(wanted, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"'\.\[sim\]'"):
        tasks.task(name).simulator()
