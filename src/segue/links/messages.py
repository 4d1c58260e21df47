"""The messages of a policy server and its clients: those of openpi, with fields of our own beside them.

    server -> client, once     what it is, see `segue.links.card`
    client -> server           {"observation/state" or "state": array, "prompt": text, camera: picture, "segue/id": ...}
                               {"endpoint": "reset"}
    server -> client           {"actions": array, "server_timing": {infer_ms, wait_ms}, "segue/id": ..., ...}
                               a text frame {"error": code, "field", "id", "cause"}: no answer to this one

    segue/id                   number of the request, comes back                      integer
    segue/start                absolute control step of the observation, comes back   integer
    segue/prefix               the executing chunk from there on                      (known, action)
    segue/delay                d                                                      steps
    segue/execution_horizon    s                                                      steps
    segue/votes                chunks that have spoken about each prefix position     (known,) int64
    segue/previous             the action that was executed last                      (action,)
    segue/episode              number of the episode                                  integer
    segue/past_state           the observation of the request before                  (observation,)
    segue/executed             what was executed since then, with it                  (at most horizon, action)
    segue/deadline             after this long the answer is of no use                s from the server's receipt
    segue/captured             when the observation was made, comes back              s, the client's own clock
    segue/crc                  CRC-32 of the frame, last entry (see `segue.links.frames`)

    segue/surprise             in an answer: how far the robot was from what was       1: bound of the usual
                               predicted of it; above 1, nothing was predicted

All of ours are optional. A request says everything that its answer depends on, so that the server keeps nothing between
requests, and every way to continue a chunk works over the wire. Two clocks are never compared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, isnan, nan
from typing import Any, Final, NoReturn

import numpy as np
from msgspec import Raw
from msgspec.msgpack import Decoder
from numpy.typing import NDArray

from segue.core import foreign
from segue.core.chunk import Array, Continuation, Past
from segue.core.observation import Picture
from segue.core.spec import PolicySpec
from segue.errors import WireError
from segue.links import frames, jpeg
from segue.links.card import REVISION, Card

STATES: Final = ("observation/state", "state")
"""Keys under which an observation is looked for."""
_LARGEST: Final = 2**53
RESET: Final = frames.encode({"endpoint": "reset"}, checksum=False)
"""Frame that asks to forget the episode, and that says that it was forgotten."""
_OURS: Final = frozenset(
    "segue/" + name
    for name in (
        *("id", "start", "prefix", "delay", "execution_horizon", "votes", "previous"),
        *("episode", "past_state", "executed", "deadline", "captured", "crc"),
    )
)


_TELLS_THE_PAST: Final = 1  # revision from which servers know of episodes and of what led to a request
_TEXT, _TIMING = Decoder(str), Decoder(dict[str, float])


@dataclass(frozen=True, eq=False)
class Question:
    """A request for a chunk.

    Attributes:
        observation: Shape (observation,), robot units.
        continuation: The chunk before, and how it is to be continued.
        id: Number of the request, or None from a client that has none.
        deadline: After this long the answer is of no use [s].
        captured: When the observation was made, by the client's clock [s].
        prompt: Task in words.
        pictures: By camera; bytes are a JPEG file whose header was checked.
        checksum: Whether the answer is to have one, as the request has.
    """

    observation: Array
    continuation: Continuation
    id: int | None = None
    deadline: float | None = None
    captured: float | None = None
    prompt: str = ""
    pictures: Mapping[str, Picture | memoryview] = field(default_factory=dict)
    checksum: bool = False


def encode_question(
    question: Question, state: str = STATES[0], *, plain: bool = False, revision: int = REVISION
) -> bytes:
    """Write a request as a frame, the observation under the key ``state``.

    ``plain`` leaves out what only a Segue server understands, and ``revision`` is that of the server, which refuses
    names that it does not know.
    """
    message: dict[str, Any] = {state: question.observation}
    message |= {
        name: value if isinstance(value, np.ndarray) else {b"__jpeg__": True, b"data": value}
        for name, value in question.pictures.items()
    }
    if question.prompt:
        message["prompt"] = question.prompt
    if plain:
        return frames.encode(message, checksum=False)
    known = question.continuation
    ours = {"id": question.id, "start": known.start, "delay": known.delay, "deadline": question.deadline,
            "execution_horizon": known.execution_horizon, "captured": question.captured}  # fmt: skip
    if known.known:
        ours["prefix"] = np.asarray(known.prefix, np.float32)
    if len(known.votes):
        ours["votes"] = np.asarray(known.votes, np.int64)
    if known.previous is not None:
        ours["previous"] = np.asarray(known.previous, np.float32)
    if revision >= _TELLS_THE_PAST:
        ours["episode"] = known.episode
        if known.past is not None:
            ours["past_state"] = np.asarray(known.past.state, np.float32)
            ours["executed"] = np.asarray(known.past.executed, np.float32)
    message |= {f"segue/{name}": value for name, value in ours.items() if value is not None}
    return frames.encode(message, checksum=question.checksum)


def is_reset(found: Mapping[str, Raw]) -> bool:
    """Tell whether a message asks to forget the episode; raises `WireError` unless it does, or asks for a chunk."""
    if "endpoint" not in found:
        return False
    endpoint = frames.read(_TEXT, found["endpoint"], "endpoint")
    if endpoint not in ("reset", "infer"):
        raise WireError("unknown", "endpoint", repr(endpoint[:40]), "reset or infer", "ask for one of these")
    return endpoint == "reset"


def decode_question(found: Mapping[str, Raw], card: Card) -> Question:
    """Read a request for a chunk; raises `WireError` where it does not fit what the server said of itself.

    Entries that the server did not ask for are ignored, unless they begin with ``segue/``.
    """
    for name in found:
        if name.startswith("segue/") and name not in _OURS:
            raise WireError("unknown", name[:40], "no such field", ", ".join(sorted(_OURS)), "correct the name")
    state = next((name for name in STATES if name in found), None)
    if state is None:
        raise WireError("missing", STATES[0], "nothing", f"an array under {' or '.join(STATES)}", "send the state")
    observation = frames.floats(found[state], state, (len(card.spec.observation_names),))
    return Question(
        observation=observation,
        continuation=_continuation(found, card.spec),
        id=_integer(found, "id", 0, _LARGEST, None),
        deadline=_seconds(found, "deadline"),
        captured=_seconds(found, "captured"),
        prompt=frames.read(_TEXT, found["prompt"], "prompt") if "prompt" in found and card.spec.cameras else "",
        pictures={name: _picture(found, name, size) for name, size in card.spec.cameras.items()},
        checksum=frames.CHECKSUM in found,
    )


def _continuation(found: Mapping[str, Raw], spec: PolicySpec) -> Continuation:
    action = len(spec.action_names)
    prefix, votes = np.zeros((0, action), np.float32), np.zeros(0, np.int64)
    if "segue/prefix" in found:
        prefix = frames.floats(found["segue/prefix"], "segue/prefix", (None, action))
        if len(prefix) > spec.horizon:
            _refuse("shape", "prefix", f"{len(prefix)} positions", f"at most the horizon, {spec.horizon}")
    steps = _integer(found, "execution_horizon", 1, spec.horizon, spec.horizon)
    delay = _integer(found, "delay", 0, min(steps, len(prefix)), 0)
    if "segue/votes" in found:
        votes = frames.array(found["segue/votes"], "segue/votes")
        frames.check_shape(votes, "segue/votes", (len(prefix),))
        if votes.dtype != np.int64 or (len(votes) and not 0 <= votes.min() <= votes.max() < 2**31):
            _refuse("range", "votes", f"votes of {votes.dtype}", "int64, 0 or more")
        votes = votes.copy()
    previous = None
    if "segue/previous" in found:
        previous = frames.floats(found["segue/previous"], "segue/previous", (action,))
    start, episode = (_integer(found, name, 0, _LARGEST, 0) for name in ("start", "episode"))
    return Continuation(start, prefix, delay, steps, votes, previous, episode, _past(found, spec))


def _past(found: Mapping[str, Raw], spec: PolicySpec) -> Past | None:
    """Read what led to a request: both of its fields, or neither."""
    names = "segue/past_state", "segue/executed"
    missing = [name for name in names if name not in found]
    if len(missing) == 2:
        return None
    if missing:
        raise WireError("missing", missing[0], "nothing", f"{' and '.join(names)}, or neither", "send both")
    state = frames.floats(found[names[0]], names[0], (len(spec.observation_names),))
    executed = frames.floats(found[names[1]], names[1], (None, len(spec.action_names)))
    if len(executed) > spec.horizon:
        _refuse("shape", "executed", f"{len(executed)} actions", f"at most the horizon, {spec.horizon}")
    return Past(state, executed)


def _integer(found: Mapping[str, Raw], name: str, low: int, high: int, default: Any) -> Any:
    if "segue/" + name not in found:
        return default
    value = frames.number(found["segue/" + name], "segue/" + name)
    if not isinstance(value, int) or not low <= value <= high:
        _refuse("range", name, str(value), f"an integer from {low} to {high}")
    return value


def _seconds(found: Mapping[str, Raw], name: str) -> float | None:
    if "segue/" + name not in found:
        return None
    value = frames.number(found["segue/" + name], "segue/" + name)
    if not 0 <= value <= _LARGEST:  # also refuses NaN
        _refuse("range", name, str(value)[:40], "seconds, 0 or more")
    return float(value)


def _refuse(code: str, name: str, got: str, expected: str) -> NoReturn:
    raise WireError(code, "segue/" + name, got, expected, "send what `segue.plan.plan.Plan` asks with")


def _picture(found: Mapping[str, Raw], name: str, size: tuple[int, int]) -> Picture | memoryview:
    if name not in found:
        raise WireError("missing", name, "nothing", f"a picture of {size[0]} x {size[1]} pixels", "send all cameras")
    fields = frames.fields_of(found[name], name)
    if "__jpeg__" in fields and "data" in fields:
        data = frames.data(fields["data"], name)
        jpeg.check_jpeg(data, name, size)
        return data
    picture = frames.array(found[name], name)
    frames.check_shape(picture, name, (*size, 3))
    if picture.dtype != np.uint8:
        raise WireError("dtype", name, str(picture.dtype), "uint8", "send pictures as they are shown")
    return picture


@dataclass(frozen=True, eq=False)
class Answer:
    """A chunk that came back.

    Attributes:
        actions: Shape (horizon, action), robot units, finite.
        id: Number of the request that it answers, or None from a server that does not say.
        timing: Times that the server says [ms].
        surprise: How far the robot was from what was predicted of it, see `segue.links.link.Answer`; NaN: not said.
    """

    actions: Array
    id: int | None
    timing: Mapping[str, float]
    surprise: float = nan


def encode_answer(
    actions: NDArray[np.floating], question: Question, spec: PolicySpec, timing: Mapping[str, float],
    surprise: float = nan,
) -> bytes:  # fmt: skip
    """Write an answer as a frame; a surprise that is not a number is left out.

    Raises:
        WireError: No numbers, of another shape than the policy says, or not finite.
    """
    try:
        actions = np.asarray(actions)
    except (ValueError, TypeError) as error:
        raise _no_actions("rows of different lengths") from error
    if actions.dtype.kind not in "biuf":
        raise _no_actions("nothing" if actions.dtype == object and actions.ndim == 0 else f"{actions.dtype}")
    frames.check_shape(actions, "actions", (spec.horizon, len(spec.action_names)))
    with np.errstate(over="ignore"):
        actions = actions.astype(np.float32)
    if not np.isfinite(actions).all():
        raise WireError("not-finite", "actions", "NaN or infinity", "finite actions", "find out what the policy met")
    echo = {"id": question.id, "start": question.continuation.start, "captured": question.captured,
            "surprise": None if isnan(surprise) else surprise}  # fmt: skip
    ours = {f"segue/{name}": value for name, value in echo.items() if value is not None and question.id is not None}
    return frames.encode({"actions": actions, "server_timing": dict(timing), **ours}, checksum=question.checksum)


def _no_actions(got: str) -> WireError:
    return WireError("dtype", "actions", got, "real numbers, one row per step", "find out what the policy answers")


def decode_answer(frame: bytes | str, shape: tuple[int | None, int | None]) -> Answer:
    """Read an answer of a Segue or openpi server; raises `WireError` unless it is of the shape agreed, and finite.

    Of ``shape``, None fits any size.
    """
    found = frames.entries(frame)
    if "actions" not in found:
        raise WireError("missing", "actions", "nothing", "a chunk", "find out what the server answers")
    actions = frames.floats(found["actions"], "actions", shape)
    try:
        said = frames.read(_TIMING, found["server_timing"], "") if "server_timing" in found else {}
        timing = {name: value for name, value in said.items() if isfinite(value)}
    except WireError:
        timing = {}  # other servers write other things there, and nobody's motion depends on it
    return Answer(actions, _integer(found, "id", 0, _LARGEST, None), timing, _surprise(found))


def _surprise(found: Mapping[str, Raw]) -> float:
    if "segue/surprise" not in found:
        return nan
    value = frames.number(found["segue/surprise"], "segue/surprise")
    if not value >= 0:  # also refuses NaN; where the usual is nothing, a surprise is infinite
        raise WireError("range", "segue/surprise", str(value)[:40], "0 or more", "find out what the server answers")
    return float(value)


def refusal(code: str, name: str = "", identity: int | None = None, cause: str = "") -> str:
    """Write the text frame that says why there is no answer; openpi's client raises on any text frame.

    It has one word, the field that is meant, the number of the request, and the cause in words of ours: shapes and
    numbers, nothing of the server's machine.
    """
    content = {"error": code, "field": name, "id": identity, "cause": cause}
    return json.dumps({key: value for key, value in content.items() if value not in ("", None)})


def reason(text: str) -> tuple[str, int | None]:
    """Read from a text frame what it says, and to which request, if it does; an openpi server sends a traceback."""
    try:
        content = foreign.parsed(text[:1000])
        code, name, identity = content["error"], content.get("field", ""), content.get("id")
        cause = content.get("cause", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, name, identity, cause = (text.strip().splitlines() or [""])[-1][:200], "", None, ""
    said = f"{str(code)[:200]}: {str(cause)[:300]}" if cause else f"{str(code)[:200]} {str(name)[:80]}".strip()
    # It ends up on somebody's terminal: no control characters of a peer.
    return "".join(c if c.isprintable() else "?" for c in said), identity if isinstance(identity, int) else None
