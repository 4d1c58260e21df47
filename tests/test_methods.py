"""Methods by name, and their settings."""

import json

import pytest

from segue.errors import SpecError, UnknownNameError
from segue.evaluation.methods import LATENT, METHODS, OBJECTIVES, Refinement, method, objective
from segue.strategies.blend import TemporalEnsembling
from segue.strategies.legato import Legato


def test_settings_change_the_strategy_and_nothing_else() -> None:
    changed = method("legato:gain=1:fade=0:ramp=4:shape=cosine")
    assert changed.strategy == Legato(gain=1.0, fade=0.0, ramp=4, shape="cosine")
    assert (changed.policy, changed.handover) == (METHODS["legato"].policy, METHODS["legato"].handover)
    assert changed.name == "legato:gain=1:fade=0:ramp=4:shape=cosine"
    assert not changed.default
    assert METHODS["legato"].strategy == Legato()


def test_unknown_settings_and_methods_name_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'gain'"):
        method("legato:gian=1")
    with pytest.raises(UnknownNameError, match="did you mean 'legato'"):
        method("legatoo")


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(SpecError, match="gain=<float>"):
        method("legato:gain=much")


def test_every_method_needs_a_policy_that_can_be_trained_and_describes_itself_in_json() -> None:
    for each in METHODS.values():
        assert each.policy.removeprefix(LATENT) in OBJECTIVES
        assert json.loads(json.dumps(each.description()))["name"] == each.name
    assert [each.name for each in METHODS.values() if each.default] == ["legato"]


def test_a_strategy_can_run_on_a_policy_of_another_objective_or_family() -> None:
    changed = method("ensembling:decay=0.1:policy=diffusion")
    assert changed.policy == "diffusion"
    assert changed.strategy == TemporalEnsembling(0.1)
    assert changed.name == "ensembling:decay=0.1:policy=diffusion"
    with pytest.raises(UnknownNameError, match="did you mean 'diffusion'"):
        method("naive:policy=difusion")


def test_a_strategy_can_run_on_a_latent_policy() -> None:
    assert method("ensembling:policy=latent/plain").policy == "latent/plain"
    with pytest.raises(UnknownNameError, match="did you mean 'plain'"):
        method("naive:policy=latent/plian")


def test_a_refinement_has_settings_beside_those_of_the_strategy() -> None:
    changed = method("latent-rtr:reuse=16")
    assert changed.refinement == Refinement(reuse=16)
    assert changed.strategy == METHODS["latent-rtr"].strategy
    assert changed.description()["settings"] == {"reuse": 16, "anchor": 0.0, "handover": "continue"}
    assert METHODS["latent-rtr"].refinement == Refinement()
    assert method("rtr:policy=legato").refines_actions
    assert not method("rtr:policy=latent/plain").refines_actions


def test_unknown_objective_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="training-time-rtc"):
        objective("something")
