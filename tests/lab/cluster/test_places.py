"""Where cells run, in words."""

from importlib.util import find_spec

import pytest

from fakes.jobs import doubled
from segue.errors import MissingExtraError, UnknownNameError
from segue.lab.cluster.places import executor_on
from segue.lab.processes import Here, in_turn


def test_here_is_this_machine() -> None:
    with executor_on("here", 1) as work:
        assert isinstance(work, Here)
        assert list(in_turn(work, doubled, [1, 2])) == [2, 4]


@pytest.mark.parametrize("place", ["rays", "ray:", "http://ray", ""])
def test_another_place_is_not_known(place: str) -> None:
    with pytest.raises(UnknownNameError, match="ray://host:port"), executor_on(place, 1):
        pass


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_what_ray_needs_is_said() -> None:
    with pytest.raises(MissingExtraError, match=r"'\.\[ray\]'"), executor_on("ray", 1):
        pass
