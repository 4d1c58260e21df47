"""The plugin against what LeRobot asks of one, without LeRobot (`tests/with_lerobot` has it with LeRobot)."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fakes import leftover_contract as contract
from fakes import lerobot as fakes
from fakes.lerobot_plugin import engine, policy_of_theirs
from fakes.point_mass import demonstrations
from segue.core.chunk import Continuation
from segue.data.lerobot.writer import save
from segue.errors import SpecError, UnknownNameError
from segue.policies.autoencoder.autoencoder import AutoencoderConfig
from segue.policies.latent import LatentPolicy
from segue.policies.noise import step_noise
from segue.training.autoencoder import AutoencoderTraining, train_autoencoder


@pytest.fixture(scope="module", autouse=True)
def lerobot() -> Iterator[None]:
    with fakes.installed():
        yield


@pytest.fixture(scope="module")
def plugin(lerobot: None) -> ModuleType:
    import lerobot_policy_segue  # pyright: ignore[reportMissingImports]

    return lerobot_policy_segue


def config(plugin: ModuleType, **choices: Any) -> Any:
    settings = {"horizon": contract.HORIZON, "network_settings": {"width": 16, "depth": 1}, "plain_updates": 2}
    made = plugin.SegueConfig(**settings | choices)
    made.input_features = {"observation.state": fakes.PolicyFeature(fakes.FeatureType.STATE, (contract.STATE,))}
    made.output_features = {"action": fakes.PolicyFeature(fakes.FeatureType.ACTION, (contract.ACTION,))}
    return made


def policy(plugin: ModuleType, updates: int = 4, **choices: Any) -> Any:
    from lerobot_policy_segue.modeling_segue import SeguePolicy  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    made = SeguePolicy(config(plugin, **choices))
    contract.train(made, updates)
    return made


def test_lerobot_finds_the_policies_and_the_engine(plugin: ModuleType) -> None:
    assert fakes.PreTrainedConfig.known == {"segue": plugin.SegueConfig, "segue_delayed": plugin.SegueDelayedConfig}
    assert fakes.InferenceEngineConfig.known == {"segue": plugin.SegueInferenceConfig}
    for kind in fakes.PreTrainedConfig.known.values():
        assert kind.__name__.endswith("Config")
        assert kind.__module__.split(".")[-1].startswith("configuration_")


@pytest.mark.parametrize("executed", [0, 6, 15])
def test_the_stock_engine_s_leftover_is_the_reference(plugin: ModuleType, executed: int) -> None:
    queue = fakes.ActionQueue(fakes.RTCConfig())
    contract.check_the_leftover_is_continued(policy(plugin), queue, fakes.cut_or_padded, executed)
    contract.check_what_is_left_matters(policy(plugin))


@pytest.mark.parametrize("method", ["legato", "rtc", "legato:gain=1:fade=1"])
def test_chunks_are_made_under_inference_mode(plugin: ModuleType, method: str) -> None:
    contract.check_inference_mode(policy(plugin, method=method))


def test_plain_updates_come_first_and_the_checkpoint_knows_how_many_there_were(plugin: ModuleType) -> None:
    made = policy(plugin, updates=0)
    stages = []
    for update in range(4):
        stages.append(made.forward(contract.training_batch(update))[1]["stage"])
        made.update()
    assert stages == [1, 1, 2, 2]
    again = policy(plugin, updates=0)
    again.load_state_dict(made.state_dict())
    assert not again.learned.in_plain_stage


def test_a_policy_that_cannot_continue_yet_says_so(plugin: ModuleType) -> None:
    made = policy(plugin, updates=2)
    assert made.supports_rtc()
    with pytest.raises(SpecError, match="2 updates, all of them plain"):
        made.init_rtc_processor()
    policy(plugin, updates=2, method="rtc").init_rtc_processor()
    policy(plugin, updates=3).init_rtc_processor()


def test_training_learns_and_the_average_is_what_runs(plugin: ModuleType) -> None:
    made = policy(plugin, updates=0, observation_noise=0.0)
    first = {name: each.clone() for name, each in made.learned.average.named_parameters()}
    losses = contract.train(made, 150, batches=1)
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    moved = [not torch.equal(first[name], each) for name, each in made.learned.average.named_parameters()]
    assert all(moved)
    chunk = contract.predicted(made, contract.observation(0), None, 0)
    with torch.no_grad():
        for each in made.get_optim_params():
            each.zero_()
    assert torch.equal(contract.predicted(made, contract.observation(0), None, 0), chunk)


def test_synchronous_execution_takes_its_share_of_each_chunk(plugin: ModuleType) -> None:
    made = policy(plugin, n_action_steps=3)
    batch = contract.observation(0)
    torch.manual_seed(0)
    chunks = [made.predict_action_chunk(batch) for _ in range(2)]
    torch.manual_seed(0)
    taken = torch.stack([made.select_action(batch) for _ in range(6)], dim=1)
    assert torch.equal(taken, torch.cat([chunk[:, :3] for chunk in chunks], dim=1))


def test_a_latent_policy_encodes_the_leftover_again(plugin: ModuleType, tmp_path: Path) -> None:
    from lerobot_policy_segue.modeling_segue import SeguePolicy  # pyright: ignore[reportMissingImports]

    episodes = demonstrations(lengths=(40, 40, 40))
    save(episodes, tmp_path / "data", task="reach")
    wanted = AutoencoderConfig(contract.HORIZON, episodes.action_names, latent=2, network_settings={"width": 8})
    train_autoencoder(episodes, wanted, AutoencoderTraining(updates=2, batch=4), run=tmp_path / "autoencoder")
    meta = SimpleNamespace(fps=10, root=tmp_path / "data")
    torch.manual_seed(0)
    made = SeguePolicy(config(plugin, autoencoder=str(tmp_path / "autoencoder")), dataset_meta=meta)
    assert made.config.normalization_mapping["ACTION"] == "IDENTITY"
    contract.train(made, 4)
    left = torch.randn(10, contract.ACTION)
    new = contract.predicted(made, contract.observation(0), left, 3)
    assert torch.equal(new[:3], left[:3])
    latent = made.learned.policy
    assert isinstance(latent, LatentPolicy)
    again = SeguePolicy(config(plugin, autoencoder_config=asdict(latent.autoencoder.config)))
    again.load_state_dict(made.state_dict())
    assert torch.equal(contract.predicted(again.eval(), contract.observation(0), left, 3), new)
    held = torch.cat([left, left[-1:].expand(6, -1)])
    assert torch.equal(contract.predicted(made, contract.observation(0), held, contract.HORIZON), held)


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"objective": "legatto"}, UnknownNameError),
        ({"method": "rtx"}, UnknownNameError),
        ({"objective": "plain"}, SpecError),  # for the method legato
        ({"objective": "diffusion", "method": "rtc"}, SpecError),
        ({"n_action_steps": 17}, SpecError),
        ({"method": "rtr"}, SpecError),  # nothing to refine with
        ({"method": "latent-rtr:reuse=4"}, SpecError),
        ({"method": "legato:noise=carried"}, SpecError),  # of which step, LeRobot does not say
        ({"method": "legato:predictor=commanded"}, SpecError),
    ],
)
def test_choices_that_do_not_fit_are_refused(plugin: ModuleType, choices: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        config(plugin, **choices)


@pytest.mark.parametrize("given", [{"autoencoder": "runs/one"}, {"autoencoder_config": {}}])
def test_a_method_that_refines_is_taken_with_an_autoencoder(plugin: ModuleType, given: dict[str, Any]) -> None:
    assert config(plugin, method="rtr", **given).method == "rtr"


def delayed(plugin: ModuleType, inside: Any) -> Any:
    from lerobot_policy_segue.modeling_segue_delayed import SegueDelayedPolicy  # pyright: ignore[reportMissingImports]

    return SegueDelayedPolicy(plugin.SegueDelayedConfig(), inside)


@pytest.mark.parametrize("runs", [delayed, engine])
@pytest.mark.parametrize(
    ("kind", "observations", "taken"),
    [("act", 1, True), ("diffusion", 1, False), ("diffusion", 2, False), ("vqbet", 5, False), ("unheard_of", 2, False)],
)
def test_policies_that_look_back_are_refused(
    plugin: ModuleType, runs: Any, kind: str, observations: int, taken: bool
) -> None:
    made = policy_of_theirs(kind, n_obs_steps=observations)
    if taken:
        runs(plugin, made)
    else:
        with pytest.raises(SpecError, match=f"a {kind} policy, which is shown its last observations"):
            runs(plugin, made)


def test_kinds_are_declared_by_the_names_of_actions(plugin: ModuleType) -> None:
    engine(plugin, policy_of_theirs("act"), kinds={"y.pos": "velocity"})
    for wrong in ({"y": "velocity"}, {"y.pos": "speed"}):
        with pytest.raises(SpecError):
            engine(plugin, policy_of_theirs("act"), kinds=wrong)


def test_relative_actions_are_refused_where_each_step_has_a_state_of_its_own(plugin: ModuleType) -> None:
    with pytest.raises(SpecError, match="use_relative_actions"):
        delayed(plugin, policy_of_theirs("pi0", use_relative_actions=True))
    delayed(plugin, policy_of_theirs("pi0", use_relative_actions=False))
    engine(plugin, policy_of_theirs("pi0", use_relative_actions=True))  # anchors the leftover anew


def sampled_in_place(seen: list[tuple[Any, Any]]) -> Any:
    """A flow policy whose chunk is its noise, and whose sampler writes into what it is given."""
    made = policy_of_theirs("smolvla", n_obs_steps=1, chunk_size=contract.HORIZON, max_action_dim=5)

    def predict_action_chunk(batch: Any, noise: torch.Tensor | None = None) -> torch.Tensor:
        seen.append((batch, None if noise is None else noise.clone()))
        chunk = torch.zeros(1, contract.HORIZON, 2) if noise is None else noise[..., :2].clone()
        return chunk if noise is None else (chunk, noise.zero_())[0]

    made.predict_action_chunk = predict_action_chunk
    return made


def asked(made: Any, start: int, **observation: float) -> Any:
    prefix = np.arange(16, dtype=np.float32).reshape(8, 2)
    continuation = Continuation(start, prefix, 3, 4, episode=2)
    return made.plan._infer({"x.pos": 0.0, "y.pos": 0.0, **observation}, torch.from_numpy(prefix), continuation)


def test_the_engine_carries_noise_from_chunk_to_chunk(plugin: ModuleType) -> None:
    seen: list[tuple[Any, Any]] = []
    made = engine(plugin, sampled_in_place(seen), noise="carried", noise_scale=0.7)
    first, later = asked(made, 4).actions, asked(made, 9).actions
    noise = 0.7 * step_noise(torch.initial_seed(), 2, 4, contract.HORIZON, 5).float().numpy()
    np.testing.assert_allclose(seen[0][1][0], noise)
    np.testing.assert_allclose(first, noise[:, :2])
    np.testing.assert_allclose(later[:-5], first[5:])
    asked(engine(plugin, sampled_in_place(seen)), 4)
    assert seen[-1][1] is None  # fresh, as in training: the policy's own


def test_the_engine_shows_the_state_that_is_commanded(plugin: ModuleType) -> None:
    seen: list[tuple[Any, Any]] = []
    settings = {"noise": "carried", "predictor": "commanded"}
    made = asked(engine(plugin, sampled_in_place(seen), **settings), 4)
    assert (seen[0][0]["x.pos"], seen[0][0]["y.pos"]) == (5.0, 4.0)  # the third action is (4, 5), for y and x
    np.testing.assert_array_equal(made.actions[:3], np.arange(6).reshape(3, 2))
    noise = step_noise(torch.initial_seed(), 2, 7, contract.HORIZON, 5).float()
    np.testing.assert_allclose(made.actions[3:], noise[: contract.HORIZON - 3, :2])
    asked(engine(plugin, sampled_in_place(seen), **settings, targets={"y.pos": "x.pos"}), 4, **{"y.pos": 9.0})
    assert (seen[1][0]["x.pos"], seen[1][0]["y.pos"]) == (4.0, 9.0)
    asked(engine(plugin, sampled_in_place(seen), **settings, displacements={"x.pos": "x.pos"}), 4, **{"x.pos": 9.0})
    assert seen[2][0]["x.pos"] == 9 + 1 + 3 + 5


@pytest.mark.parametrize(
    ("kind", "settings", "error", "match"),
    [
        ("act", {"noise": "carried"}, SpecError, "takes none"),
        ("act", {"noise_scale": 0.7}, SpecError, "noise_scale"),
        ("smolvla", {"noise": "carryed"}, UnknownNameError, "carried"),
        ("smolvla", {"predictor": "learned"}, UnknownNameError, "commanded"),
        ("smolvla", {"targets": {"x.pos": "x.pos"}}, SpecError, "predictor=commanded"),
        ("act", {"predictor": "commanded", "targets": {"x": "x.pos"}}, SpecError, "action 'x'"),
    ],
)
def test_the_engine_s_settings_teach(
    plugin: ModuleType, kind: str, settings: dict[str, Any], error: type[Exception], match: str
) -> None:
    theirs = policy_of_theirs(kind, n_obs_steps=1, chunk_size=contract.HORIZON, max_action_dim=5)
    with pytest.raises(error, match=match):
        engine(plugin, theirs, **settings)


def test_our_policies_start_from_the_noise_that_they_are_given(plugin: ModuleType) -> None:
    made = policy(plugin, method="naive:scale=0.5")
    positions, dimension, stride = made.noise_shape
    assert (positions, dimension, stride) == (contract.HORIZON, contract.ACTION, 1)
    noise = torch.randn(1, positions, dimension, generator=torch.Generator().manual_seed(2))
    batch = contract.observation(1)
    given = [made.predict_action_chunk(batch, noise=each) for each in (noise, noise, -noise)]
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])
    torch.manual_seed(4)
    own = made.predict_action_chunk(batch)
    same = torch.Generator().manual_seed(4)
    drawn = 0.5 * torch.randn(positions, dimension, generator=same)[None]  # the method's scale, without ours
    torch.testing.assert_close(made.predict_action_chunk(batch, noise=drawn), own)
    with pytest.raises(SpecError, match="noise_shape"):
        made.predict_action_chunk(batch, noise=noise[0])


def test_what_cannot_be_seen_is_refused_with_the_way_to_leave_it_out(plugin: ModuleType) -> None:
    made = config(plugin)
    made.input_features["observation.images.top"] = fakes.PolicyFeature(fakes.FeatureType.VISUAL, (3, 48, 64))
    made.validate_features()
    made.input_features["observation.images.depth"] = fakes.PolicyFeature(fakes.FeatureType.VISUAL, (1, 48, 64))
    with pytest.raises(SpecError, match=r"policy\.input_features"):
        made.validate_features()


def test_an_untested_lerobot_has_the_policies_and_no_engine() -> None:
    with fakes.installed("0.7.0"):
        import lerobot_policy_segue  # pyright: ignore[reportMissingImports]
        from lerobot.rollout import context  # pyright: ignore[reportMissingImports]

        lerobot_policy_segue.SegueConfig()
        with pytest.raises(SpecError, match=r"LeRobot 0\.7\.0"):
            lerobot_policy_segue.SegueInferenceConfig()
        assert context.create_inference_engine is fakes.create_inference_engine
