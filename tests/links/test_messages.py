"""What clients and servers say: everything arrives, what does not fit is refused by name, nothing crashes a reader."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.served_policies import SPEC, openpi_frame
from segue.core.chunk import Continuation, Past
from segue.core.spec import PolicySpec
from segue.errors import SpecError, WireError
from segue.links import card, frames, messages
from segue.links.card import Card, decode_card, encode_card
from segue.links.messages import Question
from segue.plan.plan import Handover

CARD = Card(SPEC, "legato", "0123")
OBSERVATION = np.array([0.1, 0.2, 0.3], np.float32)
CONTINUATION = Continuation(9, np.zeros((5, 2), np.float32), 2, 3)


@st.composite
def continuations(draw: st.DrawFn) -> Continuation:
    known, steps = draw(st.integers(0, 8)), draw(st.integers(1, 8))
    numbers = st.floats(-1e6, 1e6, width=32)
    prefix = draw(st.lists(st.tuples(numbers, numbers), min_size=known, max_size=known))
    votes = draw(st.lists(st.integers(0, 50), min_size=known, max_size=known))
    previous = draw(st.none() | st.tuples(numbers, numbers))
    past = draw(
        st.none() | st.tuples(st.tuples(numbers, numbers, numbers), st.lists(st.tuples(numbers, numbers), max_size=8))
    )
    return Continuation(
        draw(st.integers(0, 2**53)), np.array(prefix, np.float32).reshape(known, 2),
        draw(st.integers(0, min(known, steps))), steps, np.array(votes, np.int64),
        None if previous is None else np.array(previous, np.float32), draw(st.integers(0, 2**53)),
        None if past is None else Past(np.array(past[0], np.float32), np.array(past[1], np.float32).reshape(-1, 2)),
    )  # fmt: skip


@given(
    continuations(), st.none() | st.integers(0, 2**53), st.none() | st.floats(0, 1e9), st.none() | st.floats(0, 1e9),
    st.booleans(),
)  # fmt: skip
def test_a_question_arrives_as_it_was_asked(
    continuation: Continuation, number: int | None, deadline: float | None, captured: float | None, checksum: bool
) -> None:
    asked = Question(OBSERVATION, continuation, number, deadline, captured, checksum=checksum)
    got = messages.decode_question(frames.entries(messages.encode_question(asked)), CARD)
    assert got.observation.tolist() == OBSERVATION.tolist()
    assert (got.id, got.deadline, got.captured, got.checksum) == (number, deadline, captured, checksum)
    for name in ("start", "delay", "execution_horizon"):
        assert getattr(got.continuation, name) == getattr(continuation, name)
    assert got.continuation.prefix.tolist() == continuation.prefix.tolist()
    assert got.continuation.prefix.shape == continuation.prefix.shape
    assert got.continuation.votes.tolist() == continuation.votes.tolist()
    assert (got.continuation.previous is None) == (continuation.previous is None)
    if got.continuation.previous is not None and continuation.previous is not None:
        assert got.continuation.previous.tolist() == continuation.previous.tolist()
    assert got.continuation.episode == continuation.episode
    assert (got.continuation.past is None) == (continuation.past is None)
    if got.continuation.past is not None and continuation.past is not None:
        assert got.continuation.past.state.tolist() == continuation.past.state.tolist()
        assert got.continuation.past.executed.tolist() == continuation.past.executed.tolist()


def test_a_server_of_before_is_told_what_it_knows() -> None:
    """It refuses names that it does not know, and answered without them."""
    continuation = replace(CONTINUATION, episode=4, past=Past(OBSERVATION, np.zeros((3, 2), np.float32)))
    new, old = (
        frames.entries(messages.encode_question(Question(OBSERVATION, continuation), revision=revision))
        for revision in (card.REVISION, 0)
    )
    assert new.keys() - old.keys() == {"segue/episode", "segue/past_state", "segue/executed"}
    got = messages.decode_question(old, CARD).continuation
    assert (got.start, got.episode, got.past) == (continuation.start, 0, None)


@pytest.mark.parametrize("key", ["state", "observation/state"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_openpi_s_observations_are_understood_as_they_are(key: str, dtype: Any) -> None:
    frame = openpi_frame({
        key: np.array([1, 2, 3], dtype), "prompt": "fold the towel",
        "observation/image": np.zeros((224, 224, 3), np.uint8), "images": {"cam_high": None},
    })  # fmt: skip
    got = messages.decode_question(frames.entries(frame), CARD)
    assert got.observation.dtype == np.float32
    assert got.observation.tolist() == [1, 2, 3]
    assert (got.continuation.known, got.continuation.delay, got.continuation.execution_horizon) == (0, 0, 8)
    assert not got.pictures


GOOD = {
    "state": OBSERVATION, "segue/id": 1, "segue/start": 4, "segue/prefix": np.zeros((5, 2), np.float32),
    "segue/delay": 2, "segue/execution_horizon": 3, "segue/votes": np.ones(5, np.int64), "segue/deadline": 0.5,
    "segue/captured": 17.25, "segue/previous": np.zeros(2, np.float32), "segue/episode": 2,
    "segue/past_state": OBSERVATION, "segue/executed": np.zeros((3, 2), np.float32),
}  # fmt: skip
BAD = {
    "no state": ("state", None, "missing"),
    "state of another size": ("state", np.zeros(4, np.float32), "shape"),
    "state of another rank": ("state", np.zeros((1, 3), np.float32), "shape"),
    "state of integers": ("state", np.zeros(3, np.int64), "dtype"),
    "state not finite": ("state", np.array([0, np.nan, 0], np.float32), "not-finite"),
    "state as a list": ("state", [0.0, 0.0, 0.0], "type"),
    "state as text": ("state", "0 0 0", "type"),
    "prefix of other actions": ("segue/prefix", np.zeros((5, 3), np.float32), "shape"),
    "prefix longer than a chunk": ("segue/prefix", np.zeros((9, 2), np.float32), "shape"),
    "prefix not finite": ("segue/prefix", np.full((5, 2), np.inf, np.float32), "not-finite"),
    "delay beyond the prefix": ("segue/delay", 6, "range"),
    "delay beyond the execution horizon": ("segue/delay", 4, "range"),
    "delay below zero": ("segue/delay", -1, "range"),
    "delay no integer": ("segue/delay", 1.5, "range"),
    "delay true": ("segue/delay", True, "type"),
    "no execution": ("segue/execution_horizon", 0, "range"),
    "execution beyond the horizon": ("segue/execution_horizon", 9, "range"),
    "votes for another prefix": ("segue/votes", np.ones(4, np.int64), "shape"),
    "votes below zero": ("segue/votes", -np.ones(5, np.int64), "range"),
    "votes of floats": ("segue/votes", np.ones(5, np.float32), "range"),
    "previous of other actions": ("segue/previous", np.zeros(3, np.float32), "shape"),
    "previous of many steps": ("segue/previous", np.zeros((1, 2), np.float32), "shape"),
    "previous not finite": ("segue/previous", np.full(2, np.nan, np.float32), "not-finite"),
    "episode below zero": ("segue/episode", -1, "range"),
    "episode no integer": ("segue/episode", 1.5, "range"),
    "past state of another size": ("segue/past_state", np.zeros(4, np.float32), "shape"),
    "past state not finite": ("segue/past_state", np.full(3, np.nan, np.float32), "not-finite"),
    "past state of integers": ("segue/past_state", np.zeros(3, np.int64), "dtype"),
    "executed of other actions": ("segue/executed", np.zeros((3, 3), np.float32), "shape"),
    "executed of one step": ("segue/executed", np.zeros(2, np.float32), "shape"),
    "executed longer than a chunk": ("segue/executed", np.zeros((9, 2), np.float32), "shape"),
    "executed not finite": ("segue/executed", np.full((3, 2), 1e300), "not-finite"),
    "a surprise, which servers tell": ("segue/surprise", 0.5, "unknown"),
    "start below zero": ("segue/start", -1, "range"),
    "start beyond all steps": ("segue/start", 2**63, "range"),
    "id as text": ("segue/id", "1", "type"),
    "deadline below zero": ("segue/deadline", -0.1, "range"),
    "deadline nan": ("segue/deadline", float("nan"), "range"),
    "captured infinite": ("segue/captured", float("inf"), "range"),
    "misspelt": ("segue/prefx", 1, "unknown"),
    "a path": ("segue/checkpoint", "/etc/passwd", "unknown"),
}


@pytest.mark.parametrize("fault", BAD)
def test_faults_8_and_17_what_does_not_fit_is_refused_by_name(fault: str) -> None:
    messages.decode_question(frames.entries(openpi_frame(GOOD)), CARD)
    name, value, code = BAD[fault]
    message = {key: each for key, each in (GOOD | {name: value}).items() if each is not None}
    with pytest.raises(WireError) as refused:
        messages.decode_question(frames.entries(openpi_frame(message)), CARD)
    assert refused.value.code == code
    assert refused.value.field == name if code != "missing" else "state" in refused.value.field


@pytest.mark.parametrize("missing", ["segue/past_state", "segue/executed"])
def test_half_a_past_is_refused(missing: str) -> None:
    message = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(WireError) as refused:
        messages.decode_question(frames.entries(openpi_frame(message)), CARD)
    assert (refused.value.code, refused.value.field) == ("missing", missing)


@pytest.mark.parametrize("surprise", [0.0, 1.25, float("inf"), float("nan")])
def test_an_answer_says_how_surprising_the_robot_was_if_anybody_knows(surprise: float) -> None:
    question = messages.decode_question(frames.entries(openpi_frame(GOOD)), CARD)
    frame = messages.encode_answer(np.zeros((8, 2)), question, SPEC, {}, surprise)
    assert ("segue/surprise" in msgspec.msgpack.decode(frame)) == (not np.isnan(surprise))
    np.testing.assert_equal(messages.decode_answer(frame, SPEC.chunk_shape).surprise, surprise)


@pytest.mark.parametrize(("surprise", "code"), [(-0.1, "range"), (float("nan"), "range"), ("much", "type")])
def test_fault_17_a_surprise_that_is_none_is_refused(surprise: Any, code: str) -> None:
    with pytest.raises(WireError) as refused:
        messages.decode_answer(
            openpi_frame({"actions": np.zeros((8, 2)), "segue/surprise": surprise}), SPEC.chunk_shape
        )
    assert (refused.value.code, refused.value.field) == (code, "segue/surprise")


def test_an_answer_arrives_with_what_its_question_was_known_by() -> None:
    question = messages.decode_question(frames.entries(openpi_frame(GOOD)), CARD)
    actions = np.arange(16, dtype=np.float64).reshape(8, 2)
    frame = messages.encode_answer(actions, question, SPEC, {"infer_ms": 1.5})
    got = messages.decode_answer(frame, SPEC.chunk_shape)
    assert got.actions.tolist() == actions.tolist()
    assert (got.id, got.timing) == (1, {"infer_ms": 1.5})
    plain = msgspec.msgpack.decode(frame)
    assert (plain["segue/start"], plain["segue/captured"]) == (4, 17.25)


def test_who_sends_nothing_of_ours_gets_nothing_of_ours() -> None:
    question = messages.decode_question(frames.entries(openpi_frame({"state": OBSERVATION})), CARD)
    frame = messages.encode_answer(np.zeros((8, 2)), question, SPEC, {}, 0.5)
    assert set(msgspec.msgpack.decode(frame)) == {"actions", "server_timing"}


@pytest.mark.parametrize(
    ("actions", "code"),
    [(np.full((8, 2), np.nan), "not-finite"), (np.full((8, 2), 1e300), "not-finite"), (np.zeros((7, 2)), "shape")],
)
def test_fault_6_no_such_action_is_sent_or_received(actions: np.ndarray, code: str) -> None:
    question = Question(OBSERVATION, Continuation(0, np.zeros((0, 2), np.float32), 0, 8))
    with pytest.raises(WireError) as refused:
        messages.encode_answer(actions, question, SPEC, {})
    assert refused.value.code == code
    with pytest.raises(WireError) as refused:
        messages.decode_answer(openpi_frame({"actions": actions}), SPEC.chunk_shape)
    assert refused.value.code == code


@pytest.mark.parametrize("timing", [{"infer_ms": "long"}, 5, {b"__npgeneric__": True}])
def test_what_others_write_about_time_does_not_matter(timing: Any) -> None:
    frame = openpi_frame({"actions": np.zeros((8, 2)), "server_timing": timing, "policy_timing": {"infer_ms": 3.0}})
    assert messages.decode_answer(frame, SPEC.chunk_shape).timing == {}


def test_a_card_arrives_as_it_was_written() -> None:
    card = Card(replace(SPEC, cameras={"front": (480, 640)}), "legato", "0123")
    assert decode_card(encode_card(card)) == card
    large = PolicySpec(64, 0.01, tuple(map(str, range(4000))), tuple(map(str, range(4000))))
    assert decode_card(encode_card(Card(large))) == Card(large)


@pytest.mark.parametrize("handover", list(Handover))
def test_a_card_says_how_chunks_take_over(handover: Handover) -> None:
    card = decode_card(encode_card(Card(SPEC, handover=handover)))
    assert card is not None
    assert card.handover is handover


def test_cards_of_older_and_of_newer_servers_are_read() -> None:
    """The first say nothing of the handover and mean chunks that are joined, nor of a revision; others may say more."""
    content = {
        "protocol": card.PROTOCOL, "horizon": SPEC.horizon, "dt": SPEC.dt,
        "observation_names": list(SPEC.observation_names), "action_names": list(SPEC.action_names),
    }  # fmt: skip
    for said in (content, content | {"colour": "green"}):
        assert decode_card(openpi_frame({"segue": said})) == Card(SPEC, handover=Handover.CONTINUE, revision=0)
    with pytest.raises(WireError):
        decode_card(openpi_frame({"segue": content | {"handover": "leap"}}))
    with pytest.raises(WireError):
        decode_card(openpi_frame({"segue": content | {"revision": -1}}))


def test_a_plain_openpi_server_has_no_card() -> None:
    assert decode_card(openpi_frame({})) is None
    assert decode_card(openpi_frame({"reset_pose": [0.0, -1.5], "name": "aloha"})) is None


def test_fault_15_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setattr(card, "PROTOCOL", 2)
        frame = encode_card(CARD)
    with pytest.raises(SpecError, match="a server of protocol 2"):
        decode_card(frame)


@pytest.mark.parametrize(
    "content", [5, {}, {"protocol": "1"}, {"protocol": 1}, {"protocol": 1, "horizon": 0, "dt": 0.1},
                {"protocol": 1, "horizon": 4, "dt": float("nan"), "observation_names": [], "action_names": []}],
)  # fmt: skip
def test_fault_15_half_a_card_is_refused(content: Any) -> None:
    with pytest.raises((WireError, SpecError)):
        decode_card(openpi_frame({"segue": content}))


def test_a_refusal_says_why_and_to_whom() -> None:
    assert messages.reason(messages.refusal("shape", "state", 7)) == ("shape state", 7)
    assert messages.reason(messages.refusal("expired")) == ("expired", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        '{"error": {}}',
        "Traceback ...\n  File\nValueError: no",
        "[" * 5000,
        "\x1b[2Jgone",
        '{"error": "\\u001b[2J"}',
    ],
)
def test_any_text_is_a_reason(text: str) -> None:
    reason, number = messages.reason(text)
    assert number is None
    assert len(reason) <= 200
    assert reason.isprintable()


def test_only_a_reset_is_a_reset() -> None:
    assert messages.is_reset(frames.entries(messages.RESET))
    assert not messages.is_reset(frames.entries(openpi_frame({"endpoint": "infer"})))
    assert not messages.is_reset(frames.entries(openpi_frame({})))
    with pytest.raises(WireError, match="'kill'"):
        messages.is_reset(frames.entries(openpi_frame({"endpoint": "kill"})))
