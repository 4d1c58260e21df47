"""Versions of LeRobot that the parts which reach behind its public interfaces are tested with."""

from segue.errors import SpecError

TESTED = ("0.6.1", "0.6.2")
"""The second is not released yet: it is known as it stood in development, and tested against that (tests/fakes)."""


def check_version(found: str, what: str) -> None:
    """Raise `SpecError` for a version of LeRobot that was not tested.

    Args:
        found: Version of LeRobot.
        what: What is asked for.
    """
    if found not in TESTED:
        raise SpecError(
            got=f"{what} under LeRobot {found}",
            expected="LeRobot " + " or ".join(TESTED) + ", whose way of making an engine is known",
            change=f"pip install lerobot=={TESTED[0]}, or use --inference.type=rtc, which needs no such knowledge",
        )
