"""REMAC: pairs whose input and target lead to different chunks, and the adapters that learn them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from fakes.flow_oracles import prefix, randn
from fakes.point_mass import demonstrations, policy, recipe
from segue.errors import CheckpointError, SpecError, UnknownNameError
from segue.policies.families import adapt
from segue.policies.networks import NETWORKS, build_network
from segue.policies.networks.adapted import Adapted
from segue.strategies.flow import integrate
from segue.strategies.hooks import nothing_known
from segue.strategies.naive import Naive
from segue.strategies.objective import Demonstrated
from segue.strategies.training_time_rtc import TrainingTimeRTC
from segue.strategies.under_delay.remac import REMAC, Mix, REMACObjective
from segue.training import checkpoint
from segue.training.data import DemonstratedChunks
from segue.training.recipe import train_policy

H, A, N = 8, 2, 5
QUIET = Console(quiet=True)


def batch(count: int = 400) -> Demonstrated:
    actions, own = randn(count, H, A, seed=1), randn(count, H, A, seed=2)
    return Demonstrated(actions, torch.ones(count, H, dtype=torch.bool), own, torch.zeros(count, dtype=torch.int64))


def noise_and_end(how: REMACObjective, given: Demonstrated) -> tuple[Tensor, Tensor, Tensor]:
    """Solve a pair for its noise, which is A - target, and for the end of its path, (x - (1 - t) noise) / t."""
    pair = how.pair(given, torch.Generator().manual_seed(0))
    noise, t = given.actions - pair.target, pair.t[:, None, None]
    return noise, (pair.x - (1 - t) * noise) / t, pair.t


@pytest.mark.parametrize("mix", ["time", "coin"])
def test_the_input_leads_to_one_of_two_chunks_and_the_target_always_to_the_demonstration(mix: Mix) -> None:
    given = batch()
    noise, end, t = noise_and_end(REMACObjective(mix=mix, demonstrated=0.3), given)
    near = [(end - each).abs().amax((1, 2)) < 1e-6 for each in (given.actions, given.own)]
    assert (near[0] ^ near[1])[t > 1e-3].all()
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.var()) == pytest.approx(1, abs=0.05)
    if mix == "time":
        assert torch.equal(near[0], t < 0.3)
    else:
        late = t > 0.3
        assert float(near[0].double().mean()) == pytest.approx(0.3, abs=0.06)
        assert 0.1 < float(near[0][late].double().mean()) < 0.5


@pytest.mark.parametrize("mix", ["time", "coin"])
def test_with_all_demonstrated_it_is_plain_flow_matching_behind_a_prefix_that_counts_nowhere(mix: Mix) -> None:
    given = batch()
    how = REMACObjective(max_delay=3, demonstrated=1.0, mix=mix)
    pair = how.pair(given, torch.Generator().manual_seed(0))
    t = pair.t[:, None, None]
    torch.testing.assert_close(pair.x + (1 - t) * pair.target, given.actions)
    lengths = pair.w.sum(1)
    assert lengths.unique().tolist() == [1, 2, 3]
    assert torch.equal(pair.w, (torch.arange(H) < lengths[:, None]).to(pair.w.dtype))
    assert torch.equal(pair.mask, pair.w == 0)


@pytest.mark.parametrize("predicts", ["velocity", "action"])
def test_the_loss_is_the_papers_three_terms(predicts: str) -> None:
    """Squared error and Charbonnier where free, what changes where committed; the paper's sums, over their common A."""
    made = policy(horizon=H, predicts=predicts)
    adapt(made, 2)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pair = REMACObjective(max_delay=3, charbonnier=0.1, keep=0.7).pair(single(batch(6)), torch.Generator())
    assert (pair.charbonnier, pair.keep) == (0.1, 0.7)
    context = made.units.encode(torch.randn(6, 4))
    with torch.no_grad():
        told, untold = (made.velocity(pair.x, pair.t, w, context).numpy() for w in (pair.w, torch.zeros_like(pair.w)))
        found = float(made.loss(pair, context))
    left = 1 - pair.t.numpy()[:, None, None]
    scale = left / np.sqrt(left + 0.05) if predicts == "action" else np.ones_like(left)  # of the action's own error
    error, change = scale * (told - pair.target.numpy()), scale * (told - untold)
    m = pair.mask.numpy()[..., None]
    flow = ((error**2 + np.sqrt(error**2 + 0.1**2)) * m).sum((1, 2)) / m.sum((1, 2))
    keep = ((1 - m) * change**2).mean()
    assert keep > 1e-3
    assert found == pytest.approx((flow.mean() + 0.7 * keep) / A, rel=1e-4)


def single(given: Demonstrated) -> Demonstrated:
    """In single precision, as policies are."""
    return replace(given, actions=given.actions.float(), own=given.own.float())


def test_a_large_error_counts_once_more_by_its_size_and_fresh_adapters_change_nothing() -> None:
    """Charbonnier's term is ``|error|`` far above c: without the keep term, ``e^2 + e`` of an error of e everywhere."""
    made = policy(horizon=H, predicts="velocity")
    pair = REMACObjective(max_delay=3).pair(single(batch(6)), torch.Generator())
    context = made.units.encode(torch.randn(6, 4))
    with torch.no_grad():
        told = made.velocity(pair.x, pair.t, torch.zeros_like(pair.w), context)
        adapt(made, 2)
        loss = made.loss(replace(pair, target=told + 3, keep=1e6), context)
        alone = made.loss(replace(pair, target=told + 3, charbonnier=0.0, keep=0.0), context)
    assert float(loss) == pytest.approx(9 + 3, rel=1e-5)
    assert float(alone) == pytest.approx(9, rel=1e-5)


def test_noise_as_source_is_a_hard_prefix_and_the_previous_chunk_as_source_leaves_nothing_to_chance() -> None:
    reference, known = randn(2, H, A, seed=4), 5
    before = prefix(reference, known, 2)
    assert torch.equal(REMAC().hooks(before).weights, TrainingTimeRTC().hooks(before).weights)
    hooks, made = REMAC("previous").hooks(before), []
    for seed in (1, 2):
        start = hooks.start(lambda x, t: x, randn(2, H, A, seed=seed), N)
        made.append(integrate(lambda x, t: 0.5 * x, start, hooks.weights, reference, steps=N, guide=hooks.guide))
    assert torch.equal(made[0], made[1])
    # x' = 0.5 x from the reference: committed positions are kept, known ones grow, those beyond stay at zero
    grown = 1.1**N * reference
    wanted = torch.where((torch.arange(H) < known)[:, None], grown, 0)
    wanted[:, :2] = reference[:, :2]
    torch.testing.assert_close(made[0], wanted, rtol=0, atol=1e-12)


def test_a_first_chunk_begins_from_noise_in_either_way() -> None:
    noise = randn(2, H, A, seed=1)
    for strategy in (REMAC(), REMAC("previous")):
        assert torch.equal(strategy.hooks(nothing_known(noise)).start(lambda x, t: x, noise, N), noise)


@pytest.mark.parametrize("name", NETWORKS)
def test_adapters_vanish_where_nothing_is_committed_and_elsewhere_add_what_they_say(name: str) -> None:
    torch.manual_seed(0)
    plain = build_network(name, {"width": 32}, horizon=H, action=A, context=3)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, t, context, w = torch.randn(3, H, A), torch.rand(3), torch.randn(3, 3), torch.zeros(3, H)
    before = plain(x, t, w, context)
    adapted = Adapted(plain, 4)
    w[0, :2] = 1
    assert torch.equal(adapted(x, t, w, context), before)  # they are zero at first
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    after = adapted(x, t, w, context)
    assert torch.equal(after[1:], before[1:])
    assert not torch.allclose(after[0], before[0])


def test_own_chunks_are_of_the_same_observation() -> None:
    made = policy(horizon=H)
    chunks, index, how = DemonstratedChunks(demonstrations(), made), torch.arange(20), REMACObjective()
    chunks.own = torch.arange(len(chunks)).float()[None, :, None, None].expand(1, -1, H, A)
    drawn = chunks.batch(index, made, how.own_elapsed, torch.Generator())
    own = made.units.to_robot(drawn.own, chunks.observation[index])
    torch.testing.assert_close(own, chunks.own[0, :20], rtol=0, atol=1e-4)


def test_a_stage_learns_the_adapters_alone_and_can_be_loaded_and_resumed(tmp_path: Path) -> None:
    def trained(run: Path, updates: int = 12) -> checkpoint.Checkpoint:
        train_policy(demonstrations(), recipe(updates), "remac", REMACObjective(3), run=run, console=QUIET)
        return checkpoint.load(run / "remac")

    saved, first = trained(tmp_path), checkpoint.load(tmp_path / "first-stage")
    for name, value in first.weights.items():
        layer, _, kind = name.rpartition(".")
        prefixed = {name, name.replace("network.", "network.network."), f"network.{layer}.layer.{kind}"}
        assert any(key in saved.weights and torch.equal(saved.weights[key], value) for key in prefixed), name
    loaded, observation = saved.policy(), torch.as_tensor(demonstrations().observation[:3])
    noise = torch.randn(3, H, A)
    free = (observation, nothing_known(noise), noise, N)
    assert torch.equal(loaded.continue_chunk(REMAC(), *free), first.policy().continue_chunk(Naive(), *free))
    assert any(saved.weights[name].any() for name in saved.weights if name.endswith("up.weight"))
    again = trained(tmp_path)
    assert all(torch.equal(again.weights[name], value) for name, value in saved.weights.items())


def test_adapters_of_before_the_two_terms_load_and_are_not_trained_on_by_another_loss(tmp_path: Path) -> None:
    train_policy(demonstrations(), recipe(12), "remac", REMACObjective(3), run=tmp_path, console=QUIET)
    said = json.loads((tmp_path / "remac" / "last" / "config.json").read_text())
    del said["objective"]["charbonnier"], said["objective"]["keep"]
    (tmp_path / "remac" / "last" / "config.json").write_text(json.dumps(said))
    checkpoint.load(tmp_path / "remac").policy()
    with pytest.raises(CheckpointError, match=r"(?s)started with objective settings.*charbonnier"):
        train_policy(demonstrations(), recipe(12), "remac", REMACObjective(3), run=tmp_path, console=QUIET, resume=True)


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'time'"):
        REMACObjective(mix="tme")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
        REMAC("nois")  # type: ignore[arg-type]
    for charbonnier, keep in ((-1.0, 1.0), (0.0, float("nan"))):
        with pytest.raises(SpecError, match="at least 0"):
            REMACObjective(charbonnier=charbonnier, keep=keep)
    how = REMACObjective()
    with pytest.raises(SpecError, match="two stages"):
        train_policy(demonstrations(), recipe(stages=1), "remac", how, run=tmp_path, console=QUIET)
    with pytest.raises(SpecError, match="without any"):
        adapt(adapt(policy(), 2), 2)
