"""Mailboxes: the newest message, once, and never a torn one."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.chunk import Continuation, Past
from segue.core.observation import Cameras, Observation, seen, state_of
from segue.core.spec import PolicySpec
from segue.errors import SpecError
from segue.links.shared_memory import (
    Channel,
    Mailbox,
    anonymous_file,
    answer_size,
    pack_answer,
    pack_request,
    request_size,
    unpack_answer,
    unpack_request,
)
from segue.plan.plan import Request

SIZE = 24


def ends(memory: bytearray) -> tuple[Mailbox, Mailbox]:
    """A writer and a reader of the same memory."""
    return Mailbox(memoryview(memory), SIZE), Mailbox(memoryview(memory), SIZE)


def room() -> bytearray:
    return bytearray(Mailbox.room(SIZE))


def test_an_empty_mailbox_has_nothing() -> None:
    assert ends(room())[1].read() is None


@given(st.lists(st.one_of(st.binary(max_size=SIZE), st.none()), max_size=30))
def test_a_reader_gets_the_newest_message_once(events: list[bytes | None]) -> None:
    """Bytes are written; None is a look into the mailbox."""
    writer, reader = ends(room())
    newest = None
    for event in [*events, None]:
        if event is not None:
            writer.write(event)
            newest = event
        else:
            assert reader.read() == newest
            newest = None


def test_a_message_that_does_not_fit_is_refused() -> None:
    writer, reader = ends(room())
    with pytest.raises(SpecError, match="25 bytes"):
        writer.write(bytes(SIZE + 1))
    assert reader.read() is None


@pytest.mark.parametrize("written", [0, 1, 2, 3])
@pytest.mark.parametrize("read", [True, False])
def test_fault_20_a_writer_that_dies_half_way_is_as_if_it_had_not_written(written: int, read: bool) -> None:
    """Fault 20. Every prefix, suffix and single byte of a write's changes: old message or new one, nothing else."""
    memory = room()
    writer, _ = ends(memory)
    messages = [bytes([65 + n]) * (SIZE - n) for n in range(written + 1)]
    for message in messages[:-1]:
        writer.write(message)
    before = bytes(memory)
    writer.write(messages[-1])
    after = bytes(memory)
    changed = [i for i in range(len(memory)) if before[i] != after[i]]
    old = messages[-2] if written and not read else None
    partial = [changed[:n] for n in range(len(changed))] + [changed[n:] for n in range(1, len(changed))]
    for some in [*partial, *([i] for i in changed)]:
        torn = bytearray(before)
        for i in some:
            torn[i] = after[i]
        reader = Mailbox(memoryview(torn), SIZE)
        if written and read:
            whole = bytearray(before)
            reader = Mailbox(memoryview(whole), SIZE)
            assert reader.read() == messages[-2]
            whole[:] = torn
        assert reader.read() == old


def test_the_next_writer_goes_on_over_a_half_written_message() -> None:
    """Fault 20, seen from a writer that had died in its Python code and was not killed after all."""
    memory = room()
    writer, reader = ends(memory)
    writer.write(b"one")
    memory[Mailbox.room(SIZE) // 2 + 17] ^= 255  # in the message
    assert reader.read() is None
    writer.write(b"two")
    assert reader.read() == b"two"


@given(st.integers(0, 8 * Mailbox.room(SIZE) - 1), st.integers(0, 3))
def test_a_flipped_bit_is_never_a_message(bit: int, written: int) -> None:
    memory = room()
    writer, reader = ends(memory)
    messages = [f"message {n}".encode() for n in range(written)]
    for message in messages:
        writer.write(message)
    memory[bit // 8] ^= 1 << bit % 8
    assert reader.read() in [None, *messages[-2:]]


@given(st.binary(min_size=Mailbox.room(SIZE), max_size=Mailbox.room(SIZE)))
def test_random_memory_has_no_message(content: bytes) -> None:
    slot = Mailbox.room(SIZE) // 2
    reader = Mailbox(memoryview(bytearray(content)), SIZE)
    message = reader.read()
    if message is not None:  # by a chance of 2^-31: then its checksum has to be right
        found = [struct.unpack_from("<III", content, at) for at in (0, slot)]
        assert any(zlib.crc32(message, low ^ high) == checksum for low, high, checksum in found)


@pytest.mark.parametrize("generation", [2**31 - 2, 2**32 - 2, 2**63 - 2])
def test_fault_20_generations_do_not_wrap(generation: int) -> None:
    """Fault 20. At a thousand messages a second 64 bits last for half a billion years."""
    writer, reader = ends(room())
    writer._generation = reader._generation = generation
    for n in range(5):
        writer.write(bytes([n]))
        assert reader.read() == bytes([n])
        assert reader.read() is None


def spec_of(observation: int, action: int, horizon: int, cameras: Cameras | None = None) -> PolicySpec:
    names = tuple(map(str, range(9)))
    return PolicySpec(horizon, 0.02, names[:observation], names[:action], cameras or {})


def request(
    rng: np.random.Generator, spec: PolicySpec, known: int, previous: bool, executed: int | None = None
) -> Request:
    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    observation, action = len(spec.observation_names), len(spec.action_names)
    prefix, last = numbers(known, action), numbers(action) if previous else None
    past = None if executed is None else Past(numbers(observation), numbers(executed, action))
    continuation = Continuation(123, prefix, 3, 5, rng.integers(1, 9, known), last, 2**33, past)
    return Request(7, 2**40, 123, continuation)


CAMERAS = st.dictionaries(st.sampled_from(["front", "wrist"]), st.tuples(st.integers(1, 5), st.integers(1, 5)))


@given(
    st.builds(spec_of, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), CAMERAS),
    st.integers(0, 9),
    st.booleans(),
    st.none() | st.integers(0, 9),
    st.integers(0, 2**32 - 1),
)
def test_requests_come_through_whole(
    spec: PolicySpec, known: int, previous: bool, executed: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    steps = None if executed is None else min(executed, spec.horizon)
    sent = request(rng, spec, min(known, spec.horizon), previous, steps)
    state = rng.standard_normal(len(spec.observation_names)).astype(np.float32)
    shown = {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in spec.cameras.items()}
    message = pack_request(sent, seen(state, shown), 12.5, spec.cameras)
    assert len(message) <= request_size(spec)
    got, observed, captured = unpack_request(message, spec)
    assert (got.epoch, got.number, got.step, captured) == (sent.epoch, sent.number, sent.step, 12.5)
    assert np.array_equal(state_of(observed), state)
    assert isinstance(observed, Observation) == bool(shown)
    if isinstance(observed, Observation):
        assert all(np.array_equal(observed.pictures[name], picture) for name, picture in shown.items())
    ours, theirs = sent.continuation, got.continuation
    assert (ours.start, ours.delay, ours.execution_horizon) == (theirs.start, theirs.delay, theirs.execution_horizon)
    assert np.array_equal(ours.prefix, theirs.prefix)
    assert ours.prefix.shape == theirs.prefix.shape
    assert np.array_equal(ours.votes, theirs.votes)
    assert (ours.previous is None) == (theirs.previous is None)
    if ours.previous is not None and theirs.previous is not None:
        assert np.array_equal(ours.previous, theirs.previous)
    assert theirs.episode == ours.episode
    assert (ours.past is None) == (theirs.past is None)
    if ours.past is not None and theirs.past is not None:
        assert np.array_equal(ours.past.state, theirs.past.state)
        assert np.array_equal(ours.past.executed, theirs.past.executed)
        assert ours.past.executed.shape == theirs.past.executed.shape


def test_the_longest_request_fills_its_room_and_a_longer_past_does_not_fit() -> None:
    rng, spec = np.random.default_rng(0), spec_of(3, 2, 5)
    state = np.zeros(3, np.float32)
    assert len(pack_request(request(rng, spec, 5, True, 5), state, 0.0)) == request_size(spec)
    mailbox = Mailbox(memoryview(bytearray(Mailbox.room(request_size(spec)))), request_size(spec))
    with pytest.raises(SpecError, match="at most"):
        mailbox.write(pack_request(request(rng, spec, 5, True, 6), state, 0.0))


def test_a_past_of_another_robot_is_refused() -> None:
    asked = request(np.random.default_rng(0), spec_of(3, 2, 5), 2, False, 2)
    with pytest.raises(SpecError, match=r"shape \(4,\) after one of \(3,\)"):
        pack_request(asked, np.zeros(4, np.float32), 0.0)


@pytest.mark.parametrize("bad", [False, True])
def test_answers_come_through_whole(bad: bool) -> None:
    rng, spec = np.random.default_rng(0), spec_of(3, 2, 5)
    actions = rng.standard_normal((5, 2)).astype(np.float32)
    actions[1, 1] = np.nan
    asked = request(rng, spec, 2, False)
    message = pack_answer(
        asked, None if bad else actions, "brök" * 200 if bad else "", captured=1.0, finished=1.5, surprise=1.25
    )
    assert len(message) <= answer_size(spec)
    answer = unpack_answer(message, spec)
    assert (answer.epoch, answer.number, answer.seconds) == (7, 2**40, 0.5)
    assert np.isnan(answer.surprise) if bad else answer.surprise == 1.25
    if bad:
        assert answer.actions is None
        assert answer.error.startswith("brökbrök")
    else:
        assert np.array_equal(answer.actions, actions, equal_nan=True)  # type: ignore[arg-type]
        assert answer.error == ""


def test_two_ends_of_one_descriptor_talk() -> None:
    descriptor, spec = anonymous_file(), spec_of(3, 2, 4)
    try:
        one, other = Channel.over(descriptor, spec), Channel.over(descriptor, spec)
        one.requests.write(b"ask")
        other.answers.write(b"tell")
        assert (other.requests.read(), one.answers.read()) == (b"ask", b"tell")
    finally:
        os.close(descriptor)


def test_the_memory_has_no_name() -> None:
    """Fault 20: what has no name cannot be left behind, and nobody else can open it."""
    descriptor = anonymous_file()
    try:
        assert os.fstat(descriptor).st_nlink == 0
    finally:
        os.close(descriptor)


def test_fault_20_what_is_no_memory_is_refused(tmp_path: Path) -> None:
    """Fault 20: the segment is missing."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(SpecError, match="cannot be used"):
        Channel.over(descriptor, spec_of(1, 1, 1))
    os.close(descriptor)
    with pytest.raises(SpecError, match="cannot be used"):
        Channel.over(-1, spec_of(1, 1, 1))
