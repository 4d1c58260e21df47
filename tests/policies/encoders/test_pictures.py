"""Policies that look: what they see of a picture, that they learn from it, and that nothing else about them differs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from fakes import point_mass_with_pictures as sighted
from fakes.checkpoints import as_written_before
from fakes.point_mass import policy as of_the_state
from segue.core.chunk import Continuation, nothing_to_continue
from segue.core.observation import Observation
from segue.errors import SpecError, UnknownNameError
from segue.methods.methods import METHODS
from segue.policies.autoencoder.autoencoder import AutoencoderConfig, ChunkAutoencoder
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.config import Vision
from segue.policies.encoders.pictures import Sight, cut_anywhere, cut_middle
from segue.policies.encoders.resnet import ResNet, keypoints
from segue.policies.families import config_for, description, policy_for
from segue.policies.flow import FlowPolicy
from segue.policies.processor import NormalizedUnits
from segue.strategies.legato import LegatoObjective
from segue.strategies.naive import FlowMatching, Naive
from segue.training import checkpoint
from segue.training.loop import train
from segue.training.recipe import train_policy

QUIET = Console(quiet=True)
SMALL = {"settings": sighted.SMALL["settings"]}
FLOW = [name for name, method in METHODS.items() if method.policy in ("plain", "legato", "training-time-rtc")]


def policy(seed: int = 0, **settings: Any) -> FlowPolicy:
    torch.manual_seed(seed)
    made = sighted.recipe(**settings).policy(sighted.demonstrations())
    assert isinstance(made, FlowPolicy)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return made.eval()


def view(x: float = 0.0, y: float = 0.0) -> Observation[Any]:
    return Observation(np.zeros(2, np.float32), {sighted.CAMERA: sighted.picture(np.array([x, y]))})


def test_a_keypoint_is_where_a_map_is_bright() -> None:
    maps = torch.zeros(2, 3, 5, 9)
    for sample, (row, column) in enumerate([(0, 8), (4, 2)]):
        maps[sample, 1, row, column] = 1000
    found = keypoints(maps)
    assert found.shape == (2, 6)
    torch.testing.assert_close(found[:, 1], torch.tensor([1.0, -0.5]))  # column 8 and column 2 of 0 to 8
    torch.testing.assert_close(found[:, 4], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(found[:, [0, 2, 3, 5]], torch.zeros(2, 4))  # everywhere alike: the middle


def test_a_cut_is_a_part_of_its_picture_wherever_it_is() -> None:
    pictures = torch.arange(6 * 7 * 3).view(1, 6, 7, 3).repeat(400, 1, 1, 1)
    cut = cut_anywhere(pictures, 4, 5, torch.Generator().manual_seed(0))
    corners = cut[:, 0, 0, 0] // 3
    places = {(int(corner) // 7, int(corner) % 7) for corner in corners}
    assert places == {(row, column) for row in range(3) for column in range(3)}
    for one, corner in zip(cut[:20], corners[:20], strict=True):
        row, column = int(corner) // 7, int(corner) % 7
        assert torch.equal(one, pictures[0, row : row + 4, column : column + 5])
    assert torch.equal(cut_middle(pictures, 4, 5)[0], pictures[0, 1:5, 1:6])
    again = cut_anywhere(pictures, 4, 5, torch.Generator().manual_seed(0))
    assert torch.equal(cut, again)


def test_inference_looks_at_the_middle_and_at_what_was_cut() -> None:
    sight = Sight(Vision(settings=sighted.SMALL["settings"], crop=0.75), {"top": (24, 24)})
    pictures = torch.randint(0, 256, (3, 24, 24, 3), dtype=torch.uint8)
    whole = sight(Observation(torch.zeros(3, 2), {"top": pictures}))
    assert whole.shape == (3, sight.features)
    edges = pictures.clone()
    edges[:, :3], edges[:, :, -3:] = 0, 255
    assert torch.equal(sight(Observation(torch.zeros(3, 2), {"top": edges})), whole)
    assert torch.equal(sight(Observation(torch.zeros(3, 2), {"top": pictures[:, 3:21, 3:21]})), whole)


@pytest.mark.parametrize("name", FLOW)
@pytest.mark.parametrize("what", [nothing_to_continue(0, 2, 3), "prefix"])
def test_pictures_decide_and_are_encoded_once(name: str, what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "prefix":
        what = Continuation(3, np.full((5, 2), 0.3, np.float32), 2, 3, np.ones(5, np.int64))
    made, calls = policy(), [0]
    original = ResNet.forward

    def counted(self: ResNet, pictures: Any) -> torch.Tensor:
        calls[0] += 1
        return original(self, pictures)

    monkeypatch.setattr(ResNet, "forward", counted)
    chunks = [
        ContinuingPolicy(made, METHODS[name].strategy, denoising_steps=5).next_chunk(seen, what)
        for seen in (view(), view(), view(0.5, -0.5))
    ]
    assert calls == [3]
    assert np.array_equal(chunks[0], chunks[1])
    assert not np.array_equal(chunks[0], chunks[2])


def test_robots_in_a_batch_do_not_see_each_other() -> None:
    bound, what = ContinuingPolicy(policy(), Naive()), nothing_to_continue(0, 2, 3)
    pictures = np.stack([view(x).pictures[sighted.CAMERA] for x in (-0.5, 0.0, 0.5)])
    together = Observation(np.zeros((3, 2), np.float32), {sighted.CAMERA: pictures})
    generators = [torch.Generator().manual_seed(n) for n in range(3)]
    many = bound.next_chunks(together, [what] * 3, generators)
    for n, x in enumerate((-0.5, 0.0, 0.5)):
        alone = bound.next_chunks(together[n : n + 1], [what], [torch.Generator().manual_seed(n)])
        np.testing.assert_allclose(many[n], alone[0], atol=1e-5)
        assert np.array_equal(together[n].pictures[sighted.CAMERA], view(x).pictures[sighted.CAMERA])


def test_the_place_of_a_square_is_learned_from_its_pictures() -> None:
    torch.manual_seed(0)
    places = np.random.default_rng(0).uniform(-0.6, 0.6, (400, 2))
    pictures = torch.as_tensor(np.stack([sighted.picture(place) for place in places]))
    wanted, sight = torch.as_tensor(places, dtype=torch.float32), Sight(Vision(crop=1, **SMALL), {"top": (24, 24)})
    reader = torch.nn.Linear(sight.features, 2)
    optimizer = torch.optim.Adam([*sight.parameters(), *reader.parameters()], 1e-2)
    for _ in range(60):
        index = torch.randint(0, 300, (64,))
        error = reader(sight(Observation(wanted[index], {"top": pictures[index]}))) - wanted[index]
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        unseen = reader(sight(Observation(wanted[300:], {"top": pictures[300:]}))) - wanted[300:]
    assert unseen.square().mean() < 0.05 * wanted.var()


@pytest.mark.parametrize("family", ["flow", "diffusion", "regression"])
def test_policies_of_every_family_look_and_come_back_to_the_bit(tmp_path: Path, family: str) -> None:
    episodes = sighted.demonstrations()
    network = {"network": "mlp", "network_settings": {"width": 16}, "vision": sighted.SMALL}
    made = policy_for(config_for(family, episodes, horizon=8, relative=True, **network), episodes)
    checkpoint.save(tmp_path, 1, made, {}, {"raw.weight": torch.zeros(1)})
    back = checkpoint.load(tmp_path).policy()
    assert asdict(back.config) == asdict(made.config)  # type: ignore[call-overload]
    assert back.spec.cameras == {sighted.CAMERA: (24, 24)}
    one, other = made.state_dict(), back.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    what = nothing_to_continue(0, 2, 3)
    chunks = [ContinuingPolicy(each, Naive()).next_chunk(view(0.4), what) for each in (made, back)]
    assert np.array_equal(chunks[0], chunks[1])
    assert ContinuingPolicy(back, Naive()).spec.cameras == episodes.cameras
    as_written_before((tmp_path / "last").resolve(), "segue/policy/2")
    older = checkpoint.load(tmp_path).policy()
    assert description(older) == description(made)
    assert np.array_equal(ContinuingPolicy(older, Naive()).next_chunk(view(0.4), what), chunks[0])


def test_latent_policies_look_too(tmp_path: Path) -> None:
    episodes = sighted.demonstrations()
    codec = ChunkAutoencoder.for_episodes(AutoencoderConfig(8, episodes.action_names, 2), episodes)
    config = config_for("flow", episodes, horizon=8, autoencoder=codec, vision=sighted.SMALL)
    made = policy_for(config, episodes, codec)
    stage = replace(sighted.recipe().training, updates=2)
    trained = train(made, episodes, LegatoObjective(2, 2), stage, run=tmp_path, title="", console=QUIET)
    chunks = [ContinuingPolicy(trained, Naive()).next_chunk(view(x), nothing_to_continue(0, 2, 3)) for x in (-0.5, 0.5)]
    assert not np.array_equal(chunks[0], chunks[1])
    assert trained.spec.cameras == episodes.cameras


def test_an_interrupted_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    """Where pictures are cut depends on the update alone."""
    episodes, made = sighted.demonstrations(), sighted.recipe(updates=8)
    whole = train_policy(episodes, made, "legato", LegatoObjective(3, 3), run=tmp_path / "a", console=QUIET)
    train_policy(episodes, made, "legato", LegatoObjective(3, 3), run=tmp_path / "b", console=QUIET)
    (tmp_path / "b" / "legato" / "last").unlink()
    (tmp_path / "b" / "legato" / "last").symlink_to("000002")
    again = train_policy(episodes, made, "legato", LegatoObjective(3, 3), run=tmp_path / "b", console=QUIET)
    one, other = whole.state_dict(), again.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_encoders_are_learned(tmp_path: Path) -> None:
    episodes = sighted.demonstrations()
    torch.manual_seed(0)
    made = sighted.recipe().policy(episodes)
    before = {name: value.clone() for name, value in made.named_parameters() if "sight" in name}
    assert before
    stage = replace(sighted.recipe().training, updates=4)
    trained = train(made, episodes, FlowMatching(), stage, run=tmp_path, title="", console=QUIET)
    after = dict(trained.named_parameters())
    assert all(not torch.equal(after[name], value) for name, value in before.items())


def test_what_cannot_be_seen_is_said() -> None:
    episodes, what = sighted.demonstrations(), nothing_to_continue(0, 2, 3)
    bound = ContinuingPolicy(policy(), Naive())
    with pytest.raises(SpecError, match="no picture of 'top'"):
        bound.next_chunk(np.zeros(2, np.float32), what)
    with pytest.raises(SpecError, match=r"'top' of shape \(1, 12, 24, 3\)"):
        bound.next_chunk(Observation(np.zeros(2, np.float32), {"top": np.zeros((12, 24, 3), np.uint8)}), what)
    with pytest.raises(UnknownNameError, match="did you mean 'resnet'"):
        sighted.recipe(vision={"encoder": "resnt"}).policy(episodes)
    with pytest.raises(SpecError, match="multiples of 8"):
        sighted.recipe(vision={"settings": {"widths": [9]}}).policy(episodes)
    with pytest.raises(SpecError, match="breadth"):
        sighted.recipe(vision={"settings": {"breadth": 9}}).policy(episodes)
    with pytest.raises(SpecError, match="colour"):
        sighted.recipe(vision={"colour": 9}).policy(episodes)
    with pytest.raises(SpecError, match="at least 32 pixels"):
        sighted.recipe(vision={"settings": {"widths": [8] * 4}}).policy(episodes)
    with pytest.raises(SpecError, match=r"crop 1\.5"):
        sighted.recipe(vision={"crop": 1.5}).policy(episodes)


@pytest.mark.parametrize("crop", [1, 0.75])
def test_pictures_that_are_not_bytes_are_refused_in_every_size(crop: float) -> None:
    sight = Sight(Vision(crop=crop, **SMALL), {"top": (24, 24)})
    for size in (24, 18):
        shown = torch.rand(1, size, size, 3)
        with pytest.raises(SpecError, match=r"and type torch\.float32"):
            sight(Observation(torch.zeros(1, 2), {"top": shown}))


def test_a_policy_of_the_state_has_no_encoder() -> None:
    units = of_the_state().units
    assert isinstance(units, NormalizedUnits)
    assert units.sight is None
    assert not list(units.parameters())
