"""Frames that a broken or hostile peer might send: mutated, cut, random, and made by a grammar."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from fakes.served_policies import openpi_array, openpi_frame
from segue.core.spec import PolicySpec

DTYPES = ("<f4", "<f8", "|u1", "O", "|O", "V8", "<M8[ns]", "<U4", ">f4", "<c8", [["a", "<f4"]], "", "f4,f4", None, 3)
KEYS = ("state", "observation/state", "prompt", "segue/prefix", "segue/votes", "segue/delay", "segue/id", "segue/start",
        "segue/previous", "segue/episode", "segue/past_state", "segue/executed", "segue/surprise", "segue/deadline",
        "segue/crc", "actions", "server_timing", "endpoint", "segue", "front",
        "")  # fmt: skip
HEADS = b"\x80\x81\x8f\x90\x9f\xa0\xbf\xc1\xc4\xc5\xc6\xc7\xc9\xca\xcb\xcf\xd3\xd4\xd8\xd9\xdb\xdc\xdd\xde\xdf\xff"


def good_frames(spec: PolicySpec) -> list[bytes]:
    """A request, an answer and a card, to be spoilt."""
    observation, action = len(spec.observation_names), len(spec.action_names)
    request = {
        "state": np.zeros(observation), "prompt": "push", "segue/id": 7, "segue/start": 3, "segue/delay": 1,
        "segue/prefix": np.zeros((4, action), np.float32), "segue/votes": np.ones(4, np.int64),
        "segue/execution_horizon": 3, "segue/deadline": 60.0, "segue/previous": np.zeros(action, np.float32),
        "segue/episode": 2, "segue/past_state": np.zeros(observation, np.float32),
        "segue/executed": np.zeros((3, action), np.float32),
    }  # fmt: skip
    answer = {
        "actions": np.zeros((spec.horizon, action), np.float32),
        "server_timing": {"infer_ms": 1.0},
        "segue/id": 7,
        "segue/surprise": 0.5,
    }
    card = {
        "protocol": 1, "horizon": spec.horizon, "dt": spec.dt, "observation_names": list(spec.observation_names),
        "action_names": list(spec.action_names), "model": "", "hash": "", "cameras": {"front": [4, 4]},
    }  # fmt: skip
    return [openpi_frame(request), openpi_frame(answer), openpi_frame({"segue": card})]


def frames(chance: random.Random, spec: PolicySpec) -> Iterator[bytes]:
    """Without end."""
    good = good_frames(spec)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: _mutated(chance, chance.choice(good)),
        lambda: (frame := chance.choice(good))[: chance.randrange(len(frame))],
        lambda: chance.randbytes(chance.randrange(200)),
        lambda: msgspec.msgpack.encode({_key(chance): _value(chance, 0) for _ in range(chance.randrange(12))}),
        lambda: _mutated(chance, msgspec.msgpack.encode({_key(chance): _value(chance, 0) for _ in range(4)})),
        lambda: _nested(chance),
        lambda: _boastful(chance),
    )
    while True:
        yield chance.choice(kinds)()


def _mutated(chance: random.Random, frame: bytes) -> bytes:
    spoilt = bytearray(frame)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(spoilt) + 1)
        match chance.randrange(5):
            case 0 if at < len(spoilt):
                spoilt[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(spoilt):
                spoilt[at] = chance.choice(HEADS)
            case 2:
                spoilt[at:at] = chance.randbytes(chance.randrange(8))
            case 3:
                del spoilt[at : at + chance.randrange(8)]
            case _:
                spoilt[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"))
    return bytes(spoilt)


def _nested(chance: random.Random) -> bytes:
    """Lists and maps in one another, thousands deep, closed or not."""
    heads = (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa5state", b"\x92\x00")
    inside = b"".join(chance.choices(heads, k=chance.choice((5, 6, 7, 50, 3000))))
    return b"\x81\xa5state" + inside + chance.choice((b"", b"\x00", b"\x90"))


def _boastful(chance: random.Random) -> bytes:
    """A value that says it is longer, or has more elements, than the frame has bytes; alone, or as an array's data."""
    kind = chance.choice((b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf"))
    value = kind + chance.choice((2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)).to_bytes(4, "big") + chance.randbytes(9)
    if chance.random() < 0.5:
        return b"\x81\xa5state" + value
    return b"\x81\xa5state\x84\xc4\x0b__ndarray__\xc3\xc4\x05dtype\xa3<f4\xc4\x05shape\x91\x03\xc4\x04data" + value


def _key(chance: random.Random) -> str:
    return chance.choice(KEYS)


def _value(chance: random.Random, depth: int) -> Any:
    size = chance.randrange(6)
    leaves: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice((None, True, -1, 0, 3, 2**63, 1e300, float("nan"), float("inf"), "infer", "reset", b"")),
        lambda: openpi_array(np.full(chance.choice(((3,), (8, 2), (), (0,), (1, 1, 1, 1), (4, 2))), chance.choice(
            (0.0, np.nan, 1e300)))),
        lambda: {b"__ndarray__": True, b"data": chance.randbytes(8 * size), b"dtype": chance.choice(DTYPES),
                 b"shape": chance.choice(([size], [-1], [2**40], [1] * 9, [0, 2**62], size, ["1"], []))},
        lambda: {"nd": chance.random() < 0.5, "type": chance.choice(DTYPES), "kind": "V", "data": chance.randbytes(8)},
        lambda: {b"__npgeneric__": True, b"data": size, b"dtype": chance.choice(DTYPES)},
        lambda: {"__jpeg__": True, "data": b"\xff\xd8\xff\xc0\x00\x11\x08" + chance.randbytes(12)},
    )  # fmt: skip
    if depth < 8 and chance.random() < 0.2:
        inside = [_value(chance, depth + 1) for _ in range(size)]
        return inside if chance.random() < 0.5 else dict(zip(chance.sample(KEYS, size), inside, strict=True))
    return chance.choice(leaves)()
