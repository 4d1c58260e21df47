"""Limits out of files: what is taken, in which unit, and what is refused."""

from dataclasses import replace
from math import inf, pi
from pathlib import Path

import numpy as np
import pytest

from segue.core.dimensions import Dimensions
from segue.core.robot import RobotSpec
from segue.errors import SpecError
from segue.safety.limits import JointLimits
from segue.safety.limits_file import Declared, limits_for, read_limits, unlimited

SPEC = RobotSpec(
    "an arm", 0.02, ("shoulder", "slide", "jaw"), ("shoulder", "slide", "jaw"), np.full(3, -3, np.float32),
    np.full(3, 3, np.float32), "position", ("shoulder [rad]",),
    action_kinds=Dimensions.of("linear:rad", "linear:m", "gripper"),
)  # fmt: skip

TOML = """
unit = "rad"
[joints.shoulder]
position = [-1, 2]
velocity = 1.5
acceleration = 10
jerk = 200
[joints.slide]
unit = "mm"
velocity = 500
"""
URDF = """<?xml version="1.0"?>
<robot name="arm">
  <joint name="base" type="fixed"/>
  <joint name="shoulder" type="revolute"><limit lower="-1" upper="2" effort="9" velocity="1.5"/></joint>
  <joint name="slide" type="prismatic"><limit lower="0" upper="0.4" effort="9" velocity="0"/></joint>
  <joint name="wheel" type="continuous"><limit effort="9" velocity="4"/></joint>
</robot>"""
MJCF = """<mujoco><compiler angle="{angle}"/>
  <default><joint range="-90 90"/><default class="lift"><joint type="slide" range="0 0.4"/></default></default>
  <worldbody><body><freejoint/><joint name="shoulder"/>
    <body childclass="lift"><joint name="slide"/><geom/><body><joint name="free" type="ball"/></body></body>
    <joint name="unlimited" limited="false"/></body></worldbody></mujoco>"""


def limits(folder: Path, name: str, text: str, spec: RobotSpec = SPEC, **given: float) -> JointLimits:
    (folder / name).write_text(text)
    rest = {"velocity": inf, "acceleration": inf, "jerk": inf} | given
    return limits_for(spec, read_limits(folder / name), **rest)


def test_a_table_is_taken_as_it_is_and_converted_where_the_robot_says_another_unit(tmp_path: Path) -> None:
    found = limits(tmp_path, "limits.toml", TOML)
    assert found.units == ("rad", "m", "1")
    assert found.low == (-1, -3, -3)
    assert found.high == (2, 3, 3)
    assert found.velocity == (1.5, 0.5, inf)
    assert found.acceleration == (10, inf, inf)
    assert found.jerk == (200, inf, inf)


def test_a_table_is_in_the_robots_own_units_unless_it_says_one(tmp_path: Path) -> None:
    silent = replace(SPEC, action_kinds=Dimensions())
    found = limits(tmp_path, "limits.toml", "[joints.jaw]\nvelocity = 2\n", silent)
    assert (found.units, found.velocity) == (("1", "1", "1"), (inf, inf, 2))


def test_what_is_given_for_all_joints_and_what_the_file_says_both_hold(tmp_path: Path) -> None:
    found = limits(tmp_path, "limits.toml", TOML, velocity=1.0, jerk=300.0)
    assert found.velocity == (1.0, 0.5, 1.0)
    assert found.jerk == (200, 300, 300)
    assert unlimited(found) == ["no limit of acceleration for slide, jaw: --acceleration, or a file of --limits"]
    assert unlimited(limits_for(SPEC, None, 1.0, inf, 1.0)) == [
        "no limit of acceleration for every joint: --acceleration, or a file of --limits"
    ]


def test_a_urdf_has_positions_and_velocities_and_zeros_say_nothing(tmp_path: Path) -> None:
    found = limits(tmp_path, "arm.urdf", URDF)
    assert found.low == (-1, 0, -3)
    assert found.high == (2, 0.4, 3)
    assert found.velocity == (1.5, inf, inf)
    joints = read_limits(tmp_path / "arm.urdf").joints
    assert joints["wheel"] == Declared(velocity=4, unit="rad")
    assert "base" not in joints


@pytest.mark.parametrize(("angle", "most"), [("degree", pi / 2), ("radian", 3.0)])
def test_a_mjcf_has_positions_in_degrees_unless_it_says_radians_and_its_classes_hold(
    tmp_path: Path, angle: str, most: float
) -> None:
    found = limits(tmp_path, "arm.xml", MJCF.format(angle=angle))
    assert found.high == pytest.approx((most, 0.4, 3))
    joints = read_limits(tmp_path / "arm.xml").joints
    assert joints["unlimited"].position == (-inf, inf)
    assert joints.keys() == {"shoulder", "slide", "unlimited"}


def test_degrees_and_radians_are_converted_for_a_robot_that_says_its_own(tmp_path: Path) -> None:
    spec = replace(
        SPEC, action_low=np.full(3, -200, np.float32), action_high=np.full(3, 200, np.float32),
        action_names=("shoulder.pos", "slide.pos", "jaw.pos"),
        action_kinds=Dimensions.of("linear:deg", "linear:mm", "gripper"),
    )  # fmt: skip
    found = limits(tmp_path, "arm.urdf", URDF, spec)
    assert found.low[:2] == pytest.approx((-180 / pi, 0))
    assert found.high[:2] == pytest.approx((360 / pi, 200))
    assert found.units == ("deg", "1", "1")
    assert found.velocity[0] == pytest.approx(270 / pi)


def test_a_description_is_not_believed_of_a_robot_that_says_no_unit(tmp_path: Path) -> None:
    """A driver that takes degrees would be held to a few of them."""
    with pytest.raises(SpecError, match=r"'shoulder' in rad from arm.urdf, and an arm does not say the unit"):
        limits(tmp_path, "arm.urdf", URDF, replace(SPEC, action_kinds=Dimensions()))
    with pytest.raises(SpecError, match="in m"):
        limits(tmp_path, "arm.urdf", URDF, replace(SPEC, action_kinds=Dimensions.of(*["linear:rad"] * 3)))


def test_a_range_is_of_positions_alone(tmp_path: Path) -> None:
    wheel = replace(SPEC, action_kinds=Dimensions.of("velocity:rad/s", "linear:m", "gripper"))
    assert limits(tmp_path, "arm.urdf", URDF, wheel).low[0] == -3
    with pytest.raises(SpecError, match="a velocity"):
        limits(tmp_path, "limits.toml", "[joints.shoulder]\nposition = [0, 1]\n", wheel)


BOMB = '<!DOCTYPE robot [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><robot name="&b;"/>'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("arm.urdf", BOMB, "entities"),
        ("arm.urdf", "<robot><joint", "arm.urdf"),
        ("arm.urdf", "<html/>", "neither"),
        ("arm.urdf", URDF.replace('"-1"', '"${-pi/2}"'), "plain numbers"),
        ("arm.urdf", URDF.replace('"-1"', '"3"'), r"'shoulder' with position \[3"),
        ("arm.urdf", URDF.replace("shoulder", "hip").replace("slide", "rail"), "joints of an arm"),
        ("arm.urdf", URDF + " " * (1 << 23), "larger"),
        ("arm.xml", MJCF.replace("0 0.4", "0"), "arm.xml"),
        ("limits.toml", "[joints.shoulder]\nspeed = 1", "speed"),
        ("limits.toml", "[joints.shoulder", "limits.toml"),
        ("limits.toml", "[joints.sholder]\nvelocity = 1", "sholder"),
        ("limits.toml", TOML + "[joints.sholder]\nvelocity = 1", "sholder"),
        ("limits.toml", "[joints.shoulder]\nposition = [1, -1]", "lower < upper"),
        ("limits.toml", "[joints.shoulder]\nvelocity = nan", "shoulder"),
        ("limits.toml", "[joints.shoulder]\nvelocity = 0", "velocity limit 0"),
        ("limits.toml", '[joints.shoulder]\nunit = "furlong"', "furlong"),
        ("limits.toml", "[joints.shoulder]\nposition = [4, 5]", "range"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        limits(tmp_path, name, text)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_limits(tmp_path / "nowhere.toml")
    (tmp_path / "mesh.stl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        read_limits(tmp_path / "mesh.stl")
