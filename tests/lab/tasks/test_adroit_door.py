import numpy as np
import pytest

from segue.data import bundled
from segue.lab.tasks.adroit_door import HINGE, OPEN, AdroitDoor

with np.load(bundled.FILES / "adroit_door" / "demonstrations.npz", allow_pickle=False) as archive:
    DOOR_FRAMES = archive["door_frame"]  # (episodes, 3): where the door stood [m]


@pytest.fixture(scope="module")
def door() -> AdroitDoor:
    return AdroitDoor()


def test_door_observation_is_laid_out_as_in_the_demonstrations(door: AdroitDoor):
    episode, door_frame = bundled.adroit_door().episode(3), DOOR_FRAMES[3]
    recorded = episode.observation[60]
    joints = np.zeros(30)
    joints[1:28], joints[29], joints[28] = recorded[:27], recorded[27], recorded[28]
    # The first joint is not observed. It slides the arm along a straight line, so that the palm tells where it was
    palm = slice(29, 32)
    door.restore(door_frame, joints)
    at_zero = door.observe()[palm]
    joints[0] = 0.1
    door.restore(door_frame, joints)
    per_metre = (door.observe()[palm] - at_zero) / 0.1
    joints[0] = per_metre @ (recorded[palm] - at_zero) / (per_metre @ per_metre)
    door.restore(door_frame, joints)
    np.testing.assert_allclose(door.observe(), recorded, atol=2e-3)


def test_the_joint_names_are_those_of_the_model(door: AdroitDoor):
    model = door._env.model
    names = [model.joint(i).name for i in range(model.njnt)]
    assert names[:28] == list(bundled.ADROIT_JOINTS)
    assert names[28:] == ["door_hinge", "latch"]


def test_a_demonstration_opens_the_door(door: AdroitDoor):
    door.restore(DOOR_FRAMES[0])
    widest = 0.0
    for action in bundled.adroit_door().episode(0).action:
        door.send(action)
        widest = max(widest, float(door.observe()[HINGE]))
        assert door.outcome().success == (widest > OPEN)
    assert widest > 1.06
    assert door.outcome().finished
    assert door.outcome().score == pytest.approx(min(1, widest / 1.35), abs=1e-6)


def test_the_hand_holds_its_start_before_the_first_action(door: AdroitDoor):
    door.reset(0)
    joints = door._env.data.qpos[:28].copy()
    door.hold()
    # In the simulator, controls are joint angles
    np.testing.assert_allclose(door._env.data.ctrl, joints, atol=1e-6)
