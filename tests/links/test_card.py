"""What a server says of itself is bounded before anybody makes room for it."""

from dataclasses import replace
from typing import Any

import pytest

from fakes.served_policies import SPEC, WAIT, Affine, openpi_frame
from fakes.servers import fake
from segue.errors import SegueError, SpecError
from segue.links.card import Card, decode_card, encode_card
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer
from segue.links.shared_memory import request_size

GOOD: dict[str, Any] = {
    "protocol": 1, "horizon": 8, "dt": 0.02, "observation_names": ["a"], "action_names": ["b"], "cameras": {},
}  # fmt: skip
WRONG = {
    "a negative camera": {"cameras": {"front": [-1, 5]}},
    "a camera of nothing": {"cameras": {"front": [0, 5]}},
    "a camera of one size": {"cameras": {"front": [5]}},
    "a camera of half a pixel": {"cameras": {"front": [5.5, 5]}},
    "a camera that is too high": {"cameras": {"front": [6000, 60]}},
    "a camera beyond all integers": {"cameras": {"front": [2**63, 60]}},
    "cameras that are large together": {"cameras": {f"camera {i}": [4096, 4096] for i in range(3)}},
    "many cameras": {"cameras": {f"camera {i}": [4, 4] for i in range(65)}},
    "a long name of a camera": {"cameras": {"c" * 257: [4, 4]}},
    "a long name of a joint": {"action_names": ["j" * 257]},
    "a long model": {"model": "m" * 10_000},
    "a long hash": {"hash": "f" * 10_000},
    "no actions": {"action_names": []},
    "long chunks of many actions": {"horizon": 4096, "action_names": [str(i) for i in range(1000)]},
    "a horizon of nothing": {"horizon": 0},
    "a period that is no number": {"dt": float("nan")},
    "a period without end": {"dt": float("inf")},
    "a period of nothing": {"dt": 0.0},
    "a period of almost nothing": {"dt": 1e-300},
    "a negative period": {"dt": -0.02},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_picture_bombs_and_other_sizes_of_a_server_are_refused_at_the_greeting(wrong: str) -> None:
    frame = openpi_frame({"segue": GOOD | WRONG[wrong]})
    with pytest.raises(SegueError):
        decode_card(frame)
    with fake(lambda connection: connection.send(frame)) as url, pytest.raises(SegueError):
        RemotePolicy(url, patience=WAIT)


def test_what_is_accepted_fits_into_little_memory() -> None:
    cameras = {"left": [4096, 2048], "right": [4096, 2048]}
    card = decode_card(
        openpi_frame({"segue": GOOD | {"horizon": 4096, "action_names": ["j"] * 512, "cameras": cameras}})
    )
    assert card is not None
    assert request_size(card.spec) < 128 * 2**20


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon": 5000}, {"horizon": 4096, "action_names": tuple(map(str, range(1000)))},
        {"cameras": {"front": (5000, 5)}}, {"cameras": {"front": (0, 5)}}, {"action_names": ()},
        {"cameras": {name: (4096, 4096) for name in "abc"}},
    ],
)  # fmt: skip
def test_a_server_says_itself_what_no_client_would_accept(changes: dict[str, Any]) -> None:
    def serve() -> None:
        policy = Affine()
        policy.spec = replace(SPEC, **changes)  # type: ignore[misc]
        PolicyServer(policy)

    with pytest.raises(SpecError, match="a policy with"):
        serve()


def test_a_card_goes_there_and_back() -> None:
    card = Card(replace(SPEC, cameras={"front": (4096, 4096)}), "m", "h")
    assert decode_card(encode_card(card)) == card
