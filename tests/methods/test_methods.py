"""Methods by name, and their settings."""

import json

import pytest

from fakes.point_mass import policy
from segue.errors import SpecError, UnknownNameError
from segue.methods.methods import LATENT, METHODS, OBJECTIVES, PREDICTORS, Refinement, method, objective
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.noise import NOISES, CarriedNoise, FreshNoise
from segue.policies.predictors.predictor import CommandedState, PredictivePolicy
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
    assert sum(each.default for each in METHODS.values()) == 1


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
    everyones = {"noise": "fresh", "scale": 1.0, "share": 0.0, "predictor": "none", "handover": "continue"}
    assert changed.description()["settings"] == {"reuse": 16, "anchor": 0.0, **everyones}
    assert METHODS["latent-rtr"].refinement == Refinement()
    assert method("rtr:policy=legato").refines_actions
    assert not method("rtr:policy=latent/plain").refines_actions


def test_unknown_objective_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="training-time-rtc"):
        objective("something")


def test_predictor_and_noise_belong_to_every_method() -> None:
    changed = method("naive:predictor=learned:noise=carried:scale=0.7")
    assert (changed.predictor, changed.noise) == ("learned", CarriedNoise(0.7))
    assert (changed.strategy, changed.policy) == (METHODS["naive"].strategy, METHODS["naive"].policy)
    for name, each in METHODS.items():
        scaled = method(f"{name}:scale=0.5")
        assert (type(scaled.noise), scaled.noise.scale) == (NOISES[each.settings["noise"]], 0.5)
        assert scaled.strategy == each.strategy
        assert (each.refinement, each.predictor) == (scaled.refinement, scaled.predictor)
        again = method(f"{name}:noise=fresh:scale=1:predictor=none")
        assert (again.noise, again.predictor) == (FreshNoise(), "none")


def test_a_described_method_says_where_it_starts_and_what_it_predicts_with() -> None:
    settings = method("rtr:predictor=commanded:noise=carried:scale=0.7:reuse=2").description()["settings"]
    assert settings == {
        "reuse": 2, "anchor": 0.0, "noise": "carried", "scale": 0.7, "share": 1.0, "predictor": "commanded",
        "handover": "continue",
    }  # fmt: skip


def test_a_share_is_of_carried_noise() -> None:
    assert method("naive:noise=carried:share=0.5").noise == CarriedNoise(1.0, 0.5)
    with pytest.raises(SpecError, match=r"share of 0\.5 with fresh noise"):
        method("naive:noise=fresh:share=0.5")


def test_unknown_noises_and_predictors_name_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'carried'"):
        method("naive:noise=caried")
    with pytest.raises(UnknownNameError, match="did you mean 'learned'"):
        method("naive:predictor=learnt")
    with pytest.raises(SpecError, match="scale=<float>"):
        method("naive:scale=little")
    with pytest.raises(SpecError, match="noise scale"):
        method("naive:scale=-1")


def test_methods_that_predict_are_bound_to_their_predictor() -> None:
    made, predictor = policy(), CommandedState({0: 0})
    plain = method("naive:noise=carried").bound(made, predictor=predictor)
    assert isinstance(plain, ContinuingPolicy)
    assert plain.noise == CarriedNoise()
    for kind in (each for each in PREDICTORS if each != "none"):
        chosen = method(f"naive:predictor={kind}:scale=0.7")
        bound = chosen.bound(made, predictor=predictor)
        assert isinstance(bound, PredictivePolicy)
        assert bound.predictor is predictor
        assert isinstance(bound.policy, ContinuingPolicy)
        assert bound.policy.noise == FreshNoise(0.7)
        with pytest.raises(SpecError, match=f"a predictor [(]{kind}[)]"):
            chosen.bound(made)


def test_a_setting_that_may_be_none_is_read_as_what_it_is() -> None:
    timed, counted = method("rtc:ramp_seconds=0.5").settings, method("legato:ramp=4").settings
    assert (timed["ramp_seconds"], counted["ramp"]) == (0.5, 4)
    assert type(counted["ramp"]) is int
    with pytest.raises(SpecError, match="ramp=<int>"):
        method("legato:ramp=0.5")


def test_the_stack_on_a_legato_policy_is_legato_with_settings() -> None:
    long = method("legato:predictor=learned:noise=carried:share=0.5:scale=0.7:ramp=8")
    short = method("predictive-legato")
    assert (short.settings, short.policy, short.handover) == (long.settings, long.policy, long.handover)


def test_a_correction_belongs_to_every_method_and_to_the_loop_that_executes_its_chunks() -> None:
    changed = method("rtc:correction=learned")
    assert (changed.correction, changed.strategy) == ("learned", METHODS["rtc"].strategy)
    assert changed.description()["settings"]["correction"] == "learned"
    assert "correction" not in METHODS["rtc"].settings
    assert method("a2c2:correction=none").settings == METHODS["naive"].settings
    assert method("rtc:correction=learned").label == "RTC, corrected"
    with pytest.raises(UnknownNameError, match="did you mean 'learned'"):
        method("naive:correction=lerned")
    with pytest.raises(SpecError, match="in the control step in which it is due"):
        METHODS["a2c2"].bound(policy())
    assert isinstance(METHODS["a2c2"].uncorrected.bound(policy()), ContinuingPolicy)
