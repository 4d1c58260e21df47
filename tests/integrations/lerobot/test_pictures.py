"""The plugin with cameras: trained, kept, loaded again and asked for chunks, under the fakes of LeRobot."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from fakes import leftover_contract as contract
from fakes import lerobot as fakes
from segue.errors import SpecError
from segue.integrations.lerobot.batches import seen_in
from segue.integrations.lerobot.pictures import cameras_of, pictures_in

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
SHAPES = {FRONT: (3, 48, 64), WRIST: (3, 24, 32)}


@pytest.fixture(scope="module", autouse=True)
def lerobot() -> Iterator[None]:
    with fakes.installed():
        yield


def policy(**choices: Any) -> Any:
    from lerobot_policy_segue import SegueConfig  # pyright: ignore[reportMissingImports]
    from lerobot_policy_segue.modeling_segue import SeguePolicy  # pyright: ignore[reportMissingImports]

    sizes = {"network_settings": {"width": 16, "depth": 1}, "encoder_settings": {"widths": [8], "keypoints": 4}}
    settings = {"horizon": contract.HORIZON, "plain_updates": 1, "picture_size": 32, "own_elapsed": [4]}
    config = SegueConfig(**sizes | settings | choices)
    config.input_features = {
        "observation.state": fakes.PolicyFeature(fakes.FeatureType.STATE, (contract.STATE,)),
        **{key: fakes.PolicyFeature(fakes.FeatureType.VISUAL, shape) for key, shape in SHAPES.items()},
    }
    config.output_features = {"action": fakes.PolicyFeature(fakes.FeatureType.ACTION, (contract.ACTION,))}
    torch.manual_seed(0)
    return SeguePolicy(config)


def pictures(seed: int, *leading: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(*leading, *shape, generator=generator) for key, shape in SHAPES.items()}


def batch(seed: int) -> dict[str, Tensor]:
    return contract.training_batch(seed, size=4, seen=2) | pictures(seed, 4, 2)


def test_both_stages_learn_from_pictures_and_the_average_is_kept() -> None:
    made = policy()
    sight = made.learned.policy.units.sight
    before = [each.clone() for each in sight.parameters()]
    optimiser = torch.optim.AdamW(made.get_optim_params(), 1e-2)
    stages = []
    for update in range(3):
        made.train()
        loss, said = made.forward(batch(update))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        made.update()
        stages.append(said["stage"])
    assert stages == [1, 2, 2]
    moved = [not torch.equal(*pair) for pair in zip(before, sight.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    again = policy()
    again.load_state_dict(made.state_dict())
    seen = contract.observation(0) | pictures(9, 1)
    left = torch.randn(10, contract.ACTION)
    chunks = [contract.predicted(each.eval(), seen, left, 3) for each in (made, again)]
    assert torch.equal(*chunks)
    assert torch.equal(chunks[0][:3], left[:3])


@pytest.mark.parametrize("method", ["legato", "rtc"])
def test_what_a_picture_shows_matters_under_inference_mode(method: str) -> None:
    made = policy(method=method).eval()
    made.learned.updates += 5
    seen, other = (contract.observation(0) | pictures(seed, 1) for seed in (1, 2))
    other["observation.state"] = seen["observation.state"]
    left = torch.randn(10, contract.ACTION)
    outside = contract.predicted(made, seen, left, 2)
    assert not torch.equal(outside, contract.predicted(made, other, left, 2))
    with torch.inference_mode():
        assert torch.equal(contract.predicted(made, {k: v.clone() for k, v in seen.items()}, left, 2), outside)


def test_bytes_come_back_as_they_were_recorded() -> None:
    recorded = torch.randint(0, 256, (2, 3, 24, 32), dtype=torch.uint8)
    cameras = cameras_of({WRIST: (3, 24, 32)}, 32)
    for shown in (recorded, recorded.float() / 255):
        [found] = pictures_in({WRIST: shown}, cameras).values()
        assert torch.equal(found, recorded.permute(0, 2, 3, 1)[:, None])


def test_larger_pictures_keep_their_shape_and_their_brightness() -> None:
    cameras = cameras_of({FRONT: (3, 480, 640)}, 128)
    assert cameras[FRONT] == ("front", (480, 640), (96, 128))
    [found] = pictures_in({FRONT: torch.full((1, 5, 3, 480, 640), 0.4)}, cameras).values()
    assert found.shape == (1, 5, 96, 128, 3)
    assert (found == 102).all()


def test_what_cannot_be_seen_is_refused() -> None:
    with pytest.raises(SpecError, match="red, green and blue"):
        cameras_of({"observation.images.depth": (1, 48, 64)}, 128)
    cameras = cameras_of(SHAPES, 128)
    with pytest.raises(SpecError, match="height and width of the camera"):
        pictures_in({FRONT: torch.zeros(1, 3, 64, 48), WRIST: torch.zeros(1, 3, 24, 32)}, cameras)
    with pytest.raises(SpecError, match=f"a batch without {WRIST}"):
        seen_in({"observation.state": torch.zeros(1, 4), FRONT: torch.zeros(1, 3, 48, 64)},
                ["observation.state"], cameras)  # fmt: skip
