"""From a name to a robot, and what is said where there is none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.point_mass import PointMass
from segue.cli import robots
from segue.cli.robots import options_of, robot_from
from segue.core.robot import Robot
from segue.errors import RobotError, SpecError

MODULE = """
from fakes.point_mass import SPEC, PointMass

class Arm(PointMass):
    def __init__(self, port="none"):
        super().__init__(SPEC)
        self.port = port

def broken():
    return {}["ttyACM0"]

def nothing():
    return object()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "an_arm.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "an_arm"
    sys.modules.pop("an_arm", None)


def test_a_class_of_this_folder_is_called_with_the_options(module: str) -> None:
    robot = robot_from(f"{module}:Arm", {"port": "/dev/ttyACM0"})
    assert isinstance(robot, Robot)
    assert vars(robot)["port"] == "/dev/ttyACM0"
    assert vars(robot_from(f"{module}:Arm", {}))["port"] == "none"


def test_a_prefix_goes_before_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def make(rest: str, options: robots.Options) -> Robot:
        asked.append((rest, dict(options)))
        return PointMass()

    monkeypatch.setitem(robots.PREFIXES, "other", make)
    assert isinstance(robot_from("other:so101:left", {"port": "a=b"}), PointMass)
    assert asked == [("so101:left", {"port": "a=b"})]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("an_arm", "module:Class"),
        (":Arm", "module:Class"),
        ("no_arm:Arm", "no module 'no_arm'"),
        ("an_arm.sub:Arm", "no module 'an_arm.sub'"),
        ("an_arm:Leg", "Leg"),
        ("an_arm:nothing", "without spec, observe, send, hold, stop"),
    ],
)
def test_a_name_that_makes_no_robot_says_why(module: str, name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        robot_from(name, {})


@pytest.mark.parametrize(("attribute", "options"), [("broken", {}), ("Arm", {"prot": "x"})])
def test_a_robot_that_is_not_there_is_one_error_with_its_line(
    module: str, attribute: str, options: dict[str, str]
) -> None:
    with pytest.raises(RobotError, match=r"could not be made \((KeyError|TypeError): .*line \d+"):
        robot_from(f"{module}:{attribute}", options)


@pytest.mark.parametrize("text", ["import no_such_library", "1 / 0", "import os; os.nothing", "raise ValueError"])
def test_a_module_that_fails_is_not_taken_for_one_that_is_not_there(module: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "an_arm.py").write_text(text)
    with pytest.raises(RobotError, match=r"could not be imported .*line 1"):
        robot_from(f"{module}:Arm", {})


def test_options_are_words_with_an_equals_sign() -> None:
    assert options_of(["port=/dev/a", "id=x=y", "empty="]) == {"port": "/dev/a", "id": "x=y", "empty": ""}
    for words in (["port"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(SpecError, match="NAME=VALUE"):
            options_of(words)
