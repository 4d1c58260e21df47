import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from segue.errors import SpecError
from segue.lab.tasks.contact import wipe
from segue.lab.tasks.contact.panda import FLAT, HOME, SOFT, STIFF, Arm


@pytest.fixture(scope="module")
def model() -> Any:
    return wipe.model()


def robosuites_torques(arm: Arm, position: np.ndarray, rotation: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Any:
    """robosuite's own controller on the same state, its functions not compiled."""
    from robosuite.controllers.parts.arm import osc
    from robosuite.utils import control_utils
    from robosuite.utils.binding_utils import MjSim
    from scipy.spatial.transform import Rotation

    for name in ("opspace_matrices", "orientation_error", "nullspace_torques"):
        compiled: Any = getattr(control_utils, name)
        monkeypatch.setattr(osc, name, compiled.py_func)
    simulation: Any = MjSim(arm.model)
    simulation.data.qpos[:] = HOME  # where the controller's null space is when it is made
    joints = {"joints": list(range(7)), "qpos": list(range(7)), "qvel": list(range(7))}
    operational_space: Any = osc.OperationalSpaceController
    controller = operational_space(
        simulation,
        "gripper0_right_grip_site",
        joints,
        arm.model.actuator_ctrlrange.T,
        kp=STIFF,
        input_type="absolute",
        input_ref_frame="world",
        part_name="right",
        naming_prefix="robot0_",
    )
    simulation.data.qpos[:], simulation.data.qvel[:] = arm.data.qpos, arm.data.qvel
    simulation.forward()
    controller.update(force=True)
    controller.set_goal(np.concatenate([position, Rotation.from_matrix(rotation).as_rotvec()]))
    return controller.run_controller()


def test_the_controller_is_robosuites(model: Any, monkeypatch: pytest.MonkeyPatch):
    arm = Arm(model, 1 / 60, 8, STIFF)
    generator = np.random.default_rng(0)
    arm.reset(HOME + generator.normal(0, 0.01, 7))
    # So near that the speed limits are not felt
    target = arm.position + np.array([0.003, -0.004, 0.003])
    rotation = arm.rotation @ np.array([[np.cos(0.02), -np.sin(0.02), 0], [np.sin(0.02), np.cos(0.02), 0], [0, 0, 1]])
    arm.step(target, rotation)
    expected = robosuites_torques(arm, target, rotation, monkeypatch)
    assert np.abs(arm.data.qvel).max() > 0.01
    np.testing.assert_allclose(arm.torques(target, rotation), expected, rtol=1e-6, atol=1e-6)


def test_the_tool_reaches_its_target_and_lies_flat(model: Any):
    arm = Arm(model, 1 / 60, 8, STIFF)
    target = arm.position + np.array([0.05, 0.03, -0.04])
    for _ in range(120):
        arm.step(target, FLAT)
    np.testing.assert_allclose(arm.position, target, atol=1e-4)
    np.testing.assert_allclose(arm.rotation, FLAT, atol=1e-3)
    np.testing.assert_allclose(arm.velocity, 0, atol=1e-3)
    np.testing.assert_allclose(arm.force, 0, atol=0.05)  # the tool's own weight is not a contact


def test_velocity_is_the_change_of_position(model: Any):
    arm = Arm(model, 1 / 60, 20, SOFT)
    for _ in range(30):
        arm.step(arm.position + np.array([0.02, 0, 0]), FLAT)
    start = arm.position
    before = arm.velocity
    arm.step(arm.position + np.array([0.02, 0, 0]), FLAT)
    mean = (arm.position - start) * 60
    np.testing.assert_allclose(mean, (before + arm.velocity) / 2, atol=2e-3)


def test_a_stiff_arm_presses_harder(model: Any):
    forces = []
    for kp in (SOFT, STIFF):
        arm = Arm(model, 1 / 60, 8, kp)
        for height in (*np.linspace(0.1, 0, 60), *[-0.001] * 30):
            arm.step(np.array([0.05, 0, wipe.CENTRE[2] + height]), FLAT)
        forces.append(arm.force[2])
    assert 1 < forces[0] < forces[1] / 2 < 30


def test_a_far_target_does_not_throw_the_arm_about(model: Any):
    arm = Arm(model, 1 / 60, 8, STIFF)
    target = arm.position + np.array([0.2, 0.2, 0])
    for _ in range(5):
        before = arm.position
        arm.step(target, FLAT)
        assert np.linalg.norm(arm.position - before) < 0.05
    assert np.linalg.norm(target - arm.position) < np.linalg.norm([0.2, 0.2])


def test_two_arms_share_no_model(model: Any):
    one, other = (Arm(model, 1 / 60, 8, STIFF) for _ in range(2))
    one.model.body("contact0_main").pos[:] = 7
    assert (other.model.body("contact0_main").pos != 7).all()


@pytest.mark.parametrize("kp", [0.0, -1.0, float("nan"), float("inf")])
def test_a_stiffness_that_is_none(model: Any, kp: float):
    with pytest.raises(SpecError, match="kp"):
        Arm(model, 1 / 60, 8, kp)


def test_robosuite_is_quiet_and_leaves_the_process_as_it_was():
    code = """
import logging, os, sys
root, before = logging.getLogger(), dict(os.environ)
state = root.level, list(root.handlers)
from segue.lab.tasks.contact import wipe
assert "robosuite" not in sys.modules
wipe.simulator()
assert "robosuite" in sys.modules and "torch" not in sys.modules
assert (root.level, root.handlers) == state and not root.disabled
assert dict(os.environ) == before
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
