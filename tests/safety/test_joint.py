"""The search for an acceleration, on its own: what it finds decides how soon a moving command is reached."""

from hypothesis import given
from hypothesis import strategies as st

from segue.safety.joint import Joint
from segue.safety.limits import JointLimits

DT = 0.02
LIMITS = JointLimits.uniform(["joint"], [-1.0], [1.0], unit="rad", velocity=2.0, acceleration=10.0, jerk=200.0)


def some(most: float) -> st.SearchStrategy[float]:
    return st.floats(-most, most)


@given(some(200), some(20), some(40), some(2.5))
def test_whoever_moves_along_sees_the_same_approach(gap: float, drift: float, v: float, a: float) -> None:
    """Relative to a frame that moves with what is wanted, that stands still (Galilei)."""
    joint = Joint(LIMITS, 0, DT)
    least, greatest = max(a - 1, -joint.most), min(a + 1, joint.most)
    if least <= greatest:
        found = joint._approach(gap, drift, v, a, least, greatest)
        along = joint._approach(gap + drift, 0.0, v - drift, a, least, greatest)
        assert abs(found - along) < 1e-6
