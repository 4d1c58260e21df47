"""Methods of somebody's own, by ``module:Name`` and by the short name of a package."""

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from fakes.own_modules import written
from fakes.point_mass import policy
from segue.core import plugins
from segue.core.chunk import nothing_to_continue
from segue.errors import SpecError, UnknownNameError
from segue.methods.methods import METHODS, Method, method, methods

MODULE = """
from dataclasses import dataclass
from segue.learn import Hooks, Method, no_weights

@dataclass(frozen=True)
class Scaled:
    factor: float = 0.5
    whole: bool = False
    def hooks(self, prefix):
        return Hooks(no_weights(prefix), finish=lambda actions: self.factor * actions)

class Bare:
    def hooks(self, prefix):
        return Hooks(no_weights(prefix))

@dataclass(frozen=True)
class Needy:
    factor: float
    def hooks(self, prefix):
        return Hooks(no_weights(prefix))

def twice():
    return Scaled(2.0)

READY = Method("ready", "Made ready", "legato", Scaled(3.0), "me", default=True)
LOST = Method("lost", "Lost", "nowhere", Scaled(), "me")
NUMBER = 3
def number():
    return 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("own_methods", MODULE, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("name", "factor", "label"),
    [
        ("own_methods:Scaled", 0.5, "Scaled"),
        ("own_methods:Scaled:factor=0.25", 0.25, "Scaled (factor=0.25)"),
        ("own_methods:twice", 2.0, "twice"),
        ("own_methods:twice:factor=4:whole=true", 4.0, "twice (factor=4, whole=true)"),
        ("own_methods:READY", 3.0, "Made ready"),
        ("own_methods:READY:policy=plain:predictor=commanded", 3.0, "Made ready (policy=plain), predicted (commanded)"),
    ],
)
def test_a_method_is_found_again_by_the_name_that_it_has_in_results(name: str, factor: float, label: str) -> None:
    found = method(name)
    assert (found.name, found.label, found.settings["factor"], found.default) == (name, label, factor, False)
    assert method(found.name) == found
    assert found.policy == ("legato" if name == "own_methods:READY" else "plain")


def test_it_does_to_chunks_what_it_says() -> None:
    made, seen = policy(), np.zeros(4, np.float32)
    whole, half, twice = (
        method(name).bound(made).next_chunk(seen, nothing_to_continue(0, 2, 8))
        for name in ("naive", "own_methods:Scaled", "own_methods:twice")
    )
    np.testing.assert_allclose(whole - half, (twice - whole) / 2, atol=1e-5)  # affine in the factor
    assert not np.allclose(half, whole, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_methods:Bare", "dataclass"),
        ("own_methods:Needy", "a default"),
        ("own_methods:NUMBER", "a strategy with"),
        ("own_methods:number", "a strategy with"),
        ("own_methods:Scaled:factor=much", "factor=<float>"),
        ("own_methods:Scaled:whole=maybe", "whole=<bool>"),
        ("naiv:Scaled", "no module 'naiv'"),
    ],
)
def test_what_is_no_method_is_refused_with_a_reason(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        method(name)


def test_unknown_names_suggest_what_may_have_been_meant_and_nothing_else() -> None:
    for name, meant in {"own_methods:Scald": "Scaled", "own_methods:Scaled:facto=1": "factor", "naiv": "naive"}.items():
        with pytest.raises(UnknownNameError, match=f"did you mean '{meant}'"):
            method(name)
    with pytest.raises(UnknownNameError, match="objective 'nowhere'"):
        method("own_methods:LOST")
    with pytest.raises(UnknownNameError) as error:
        method("lean")
    assert "did you mean" not in str(error.value)
    assert "my_module:Name" in str(error.value)


def test_packages_give_short_names_which_take_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"scaled": EntryPoint("scaled", "own_methods:Scaled", "segue.methods")}
    short["naive"] = short["scaled"]  # ours cannot be replaced
    monkeypatch.setattr(plugins, "installed", lambda _: short)
    assert method("scaled:factor=2").settings["factor"] == 2.0
    assert (method("scaled").name, method("scaled").label) == ("scaled", "scaled")
    assert method("naive") is METHODS["naive"]
    with pytest.raises(UnknownNameError, match="did you mean 'scaled'"):
        method("scaledd")


def test_several_are_separated_by_commas_none_twice() -> None:
    found = methods("naive, own_methods:Scaled,naive")
    assert [each.name for each in found] == ["naive", "own_methods:Scaled"]
    assert all(isinstance(each, Method) for each in found)
