"""What a robot sees: batches of it, what is refused, and that it goes through wrappers and processes as it is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fakes import linked_policies as linked
from fakes.linked_policies import PATIENCE, SPEC, request, until
from fakes.point_mass import policy
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation, Observed, blank, check_pictures, seen, stacked, state_of
from segue.errors import SpecError
from segue.policies.chunk_policy import ContinuingPolicy
from segue.policies.observation import on_device
from segue.strategies.naive import Naive

CAMERAS = {"front": (2, 3), "wrist": (4, 4)}


def view(number: int, prompt: str = "") -> Observation[Any]:
    pictures = {name: np.full((*size, 3), number, np.uint8) for name, size in CAMERAS.items()}
    return Observation(np.full(3, number, np.float32), pictures, prompt)


def test_a_batch_is_what_its_robots_see() -> None:
    batch = stacked([view(n, "push") for n in range(5)])
    assert isinstance(batch, Observation)
    assert (len(batch), batch.prompt) == (5, "push")
    assert {name: each.shape for name, each in batch.pictures.items()} == {"front": (5, 2, 3, 3), "wrist": (5, 4, 4, 3)}
    part = batch[np.array([3, 1])]
    assert part.state[:, 0].tolist() == part.pictures["wrist"][:, 0, 0, 0].tolist() == [3, 1]
    assert part.pictures["front"].dtype == np.uint8


def test_states_are_plain_arrays_all_the_way() -> None:
    states = [np.full(3, n, np.float32) for n in range(2)]
    batch = stacked(states)
    assert isinstance(batch, np.ndarray)
    assert np.array_equal(batch, np.stack(states))
    assert state_of(batch) is batch
    assert seen(states[0], {}) is states[0]
    assert isinstance(on_device(batch, torch.device("cpu")), torch.Tensor)
    assert isinstance(blank(3, {}), np.ndarray)
    check_pictures(states[0], {})


def test_tensors_keep_pictures_as_bytes() -> None:
    tensors = on_device(stacked([view(7)]), torch.device("cpu"))
    assert (tensors.state.dtype, tensors.pictures["front"].dtype) == (torch.float32, torch.uint8)
    assert tensors.pictures["wrist"].shape == (1, 4, 4, 3)
    assert tensors[torch.tensor([0, 0])].pictures["wrist"].shape == (2, 4, 4, 3)


@pytest.mark.parametrize(
    "other", [view(1, "pull"), np.zeros(3, np.float32), replace(view(1), pictures={"front": view(1).pictures["front"]})]
)
def test_robots_that_see_different_things_are_not_asked_about_together(other: Observed) -> None:
    with pytest.raises(SpecError, match="different cameras or prompts"):
        stacked([view(0, "push"), other])


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        ({"front": view(0).pictures["front"]}, "no picture of 'wrist'; there are front"),
        (dict(view(0).pictures) | {"front": np.zeros((3, 2, 3), np.uint8)}, r"'front' of shape \(3, 2, 3\)"),
        (dict(view(0).pictures) | {"front": np.zeros((2, 3, 3), np.float32)}, "float32"),
        (dict(view(0).pictures) | {"front": np.zeros((3, 2, 3), np.uint8).transpose(2, 1, 0)}, r"\(3, 2, 3\)"),
    ],
)
def test_pictures_that_a_policy_was_not_trained_with_are_refused(pictures: dict[str, Any], says: str) -> None:
    for frame in (1, 4):
        shown = {name: np.stack([each] * frame) if frame > 1 else each for name, each in pictures.items()}
        with pytest.raises(SpecError, match=says if frame == 1 else None):
            check_pictures(Observation(np.zeros(3, np.float32), shown), CAMERAS)
    check_pictures(view(0), CAMERAS)
    check_pictures(stacked([view(0), view(1)]), CAMERAS)
    check_pictures(blank(3, CAMERAS), CAMERAS)


def test_a_policy_of_the_state_does_not_look_at_pictures() -> None:
    state, what = np.array([0.1, 0.2, 0.3, 0.4], np.float32), nothing_to_continue(0, 2, 3)
    plain = ContinuingPolicy(policy(), Naive(), seed=1).next_chunk(state, what)
    shown = Observation(state, view(9).pictures)
    assert np.array_equal(ContinuingPolicy(policy(), Naive(), seed=1).next_chunk(shown, what), plain)


def test_pictures_go_through_shared_memory() -> None:
    link = linked.link("looking")
    try:
        assert link.hello(PATIENCE).spec == replace(SPEC, cameras=linked.CAMERAS)
        pictures = {name: np.full((*size, 3), 40, np.uint8) for name, size in linked.CAMERAS.items()}
        pictures["wrist"][1, 2] = 1, 2, 3
        link.send(request(1), Observation(np.zeros(3, np.float32), pictures))
        answer = until(link.poll)
        assert answer.actions is not None, answer.error
        assert answer.actions[:3].tolist() == [[40, 1], [40, 2], [40, 3]]
        link.send(request(2), np.zeros(3, np.float32))  # as from a camera that has died
        answer = until(link.poll)
        assert (answer.number, answer.actions) == (2, None)
        assert "no picture of 'front'" in answer.error
        link.send(request(3), Observation(np.zeros(3, np.float32), pictures))
        assert until(link.poll).actions is not None
    finally:
        link.close()
