"""Frames from a broken or hostile peer: each reader refuses them with the one error that it has, or reads them."""

import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import pytest
from websockets.sync.client import connect

from fakes.malformed_frames import frames as malformed_frames
from fakes.malformed_frames import good_frames
from fakes.served_policies import SPEC, WAIT, Affine, Watching, openpi_frame, openpi_read
from segue.errors import SpecError, WireError
from segue.links import frames, messages
from segue.links.address import Address
from segue.links.card import Card, decode_card
from segue.links.jpeg import decode_jpeg
from segue.links.server import PolicyServer, running

MIB = 2**20


def request(frame: bytes) -> None:
    found = frames.entries(frame)
    if not messages.is_reset(found):
        messages.decode_question(found, Card(SPEC))


def request_with_pictures(frame: bytes) -> None:
    messages.decode_question(frames.entries(frame), Card(Watching.spec))


def answer(frame: bytes) -> None:
    messages.decode_answer(frame, SPEC.chunk_shape)


def greeting(frame: bytes) -> None:
    decode_card(frame)


def text(frame: bytes) -> None:
    messages.reason(frame.decode("latin-1"))


def jpeg(frame: bytes) -> None:
    decode_jpeg(b"\xff\xd8" + frame, "front", (16, 24))


READERS = (request, request_with_pictures, answer, greeting, text, jpeg)


def resident() -> int:
    """Memory of this process [bytes]; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def read_many(readers: Sequence[Callable[[bytes], None]], count: int, seed: int) -> int:
    """Let each reader read that many; how many were refused. Any other exception is a failure."""
    refused = 0
    for frame in islice(malformed_frames(random.Random(seed), SPEC), count):
        for reader in readers:
            try:
                reader(frame)
            except (WireError, SpecError):
                refused += 1
    return refused


@pytest.mark.parametrize("reader", READERS)
def test_faults_15_and_17_500_malformed_frames_per_reader(reader: Callable[[bytes], None]) -> None:
    refused = read_many([reader], 500, seed=1)
    assert refused > 250 or reader is text


@pytest.mark.faults
def test_faults_15_and_17_a_hundred_thousand_malformed_frames_per_reader() -> None:
    """The same for all: to make them takes longer than to read them."""
    read_many(READERS, 1000, seed=2)
    before = resident()
    read_many(READERS, 100_000, seed=3)
    assert resident() - before < 64 * MIB
    for frame, good in zip(good_frames(SPEC), (request, answer, greeting), strict=True):
        good(frame)


@pytest.mark.faults
def test_faults_15_and_17_a_hundred_thousand_malformed_frames_over_a_socket() -> None:
    with (
        running(PolicyServer(Affine(), Address(port=0))) as server,
        connect(server.url, compression=None, proxy=None, max_size=None) as connection,
    ):
        connection.recv(timeout=WAIT)
        before = resident()
        for number, frame in enumerate(islice(malformed_frames(random.Random(4), SPEC), 100_000)):
            connection.send(frame)
            connection.recv(timeout=WAIT)
            if number % 8 == 7:  # who is never understood is disconnected
                connection.send(good_frames(SPEC)[0])
                connection.recv(timeout=WAIT)
        assert resident() - before < 64 * MIB
        connection.send(openpi_frame({"state": [[0.0] * 3], "segue/id": 3}))
        assert connection.recv(timeout=WAIT) == messages.refusal("type", "state")
        connection.send(good_frames(SPEC)[0])
        reply = connection.recv(timeout=WAIT)
        assert isinstance(reply, bytes)
        assert openpi_read(reply)["segue/id"] == 7
