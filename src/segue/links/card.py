"""What a policy server says of itself when a client connects, and whether a client can live with it.

    {..., "segue": {protocol, horizon, dt, observation_names, action_names, model, hash, cameras, handover,
                    revision, action_kinds, observation_kinds}}

The frame is openpi's metadata: whatever else a server tells its clients stands beside it, and openpi's clients are
handed it as it is. Names come in their order, which is part of what is agreed: a robot whose joints are listed
differently moves the wrong ones.
"""

from dataclasses import dataclass
from typing import Annotated, Final, NoReturn

import msgspec
from msgspec import Meta
from msgspec.msgpack import Decoder

from segue.core.chunk import PolicySpec
from segue.core.dimensions import Dimensions
from segue.errors import SpecError
from segue.links import frames
from segue.plan.plan import Handover

PROTOCOL: Final = 1
"""Raised when messages change so that the other side must know."""
REVISION: Final = 1
"""Raised when a request may say more than before; a client tells an older server only what that one knows."""
_VALUES: Final = 4 * frames.MAX_DIMENSION
_SHORTEST_PERIOD: Final = 1e-6
_LONGEST_PERIOD: Final = 3600
_MOST_CAMERAS: Final = 64
_LONGEST_NAME: Final = 256
"""Characters; whatever a peer calls itself or its joints ends up on somebody's terminal."""

_Name = Annotated[str, Meta(max_length=_LONGEST_NAME)]
_Size = Annotated[int, Meta(ge=1, le=frames.MAX_DIMENSION)]


class _Version(msgspec.Struct):
    protocol: int


class _Card(msgspec.Struct):
    protocol: int
    horizon: Annotated[int, Meta(ge=1, le=frames.MAX_DIMENSION)]
    dt: Annotated[float, Meta(ge=_SHORTEST_PERIOD, le=_LONGEST_PERIOD)]
    observation_names: Annotated[tuple[_Name, ...], Meta(max_length=frames.MAX_DIMENSION)]
    action_names: Annotated[tuple[_Name, ...], Meta(max_length=frames.MAX_DIMENSION)]
    model: _Name = ""
    hash: _Name = ""
    cameras: Annotated[dict[_Name, tuple[_Size, _Size]], Meta(max_length=_MOST_CAMERAS)] = {}
    handover: Handover = Handover.CONTINUE
    revision: Annotated[int, Meta(ge=0)] = 0
    action_kinds: Annotated[tuple[str, ...], Meta(max_length=frames.MAX_DIMENSION)] = ()
    observation_kinds: Annotated[tuple[str, ...], Meta(max_length=frames.MAX_DIMENSION)] = ()


_VERSION, _CARD = Decoder(_Version), Decoder(_Card)


@dataclass(frozen=True)
class Card:
    """What a server says of itself when a client connects.

    Attributes:
        spec: Of its policy.
        model: Its name, for people.
        hash: Of its weights; equal for equal policies.
        handover: How its chunks take over; a server that does not say it means chunks that are joined.
        revision: Of what it understands; a server that does not say it is of revision 0.

    Raises:
        SpecError: The policy asks for more than can be sent, or answers with more.
    """

    spec: PolicySpec
    model: str = ""
    hash: str = ""
    handover: Handover = Handover.CONTINUE
    revision: int = REVISION

    def __post_init__(self) -> None:
        check_sizes(self.spec)


def check_sizes(spec: PolicySpec) -> None:
    """Raise `SpecError` unless what a policy sees and answers can be sent: numbers in range, pictures that fit a frame.

    Whoever is told such a specification makes room for it, and warms up with pictures of its sizes.
    """
    counted = ("horizon", spec.horizon), ("actions", len(spec.action_names))
    pixels = ((f"camera {name!r}", size) for name, each in spec.cameras.items() for size in each)
    for name, size in (*counted, *pixels):
        if not 1 <= size <= frames.MAX_DIMENSION:
            _refuse(f"{name} of size {size}", f"1 to {frames.MAX_DIMENSION}")
    if len(spec.observation_names) > frames.MAX_DIMENSION:
        _refuse(f"{len(spec.observation_names)} observations", f"up to {frames.MAX_DIMENSION}")
    if not _SHORTEST_PERIOD <= spec.dt <= _LONGEST_PERIOD:  # also refuses NaN
        _refuse(f"a control period of {spec.dt} s", f"{_SHORTEST_PERIOD:g} to {_LONGEST_PERIOD} s")
    chunk = 4 * spec.horizon * len(spec.action_names)
    if chunk > frames.MAX_FRAME // 2:  # a request names one, and what was executed of another
        _refuse(f"chunks of {chunk} bytes", f"up to {frames.MAX_FRAME // 2}")
    if (pictures := sum(3 * height * width for height, width in spec.cameras.values())) > frames.LARGEST_FRAME:
        _refuse(f"pictures of {pictures} bytes together", f"up to {frames.LARGEST_FRAME}")


def _refuse(got: str, expected: str) -> NoReturn:
    raise SpecError(
        f"a policy with {got}", expected, "serve a policy for smaller pictures, fewer names, shorter chunks"
    )


def encode_card(card: Card) -> bytes:
    """The frame that greets a client."""
    spec = card.spec
    content = _Card(PROTOCOL, spec.horizon, spec.dt, spec.observation_names, spec.action_names, card.model, card.hash,
                    dict(spec.cameras), card.handover, card.revision, spec.action_kinds.words,
                    spec.observation_kinds.words)  # fmt: skip
    return frames.encode({"segue": msgspec.to_builtins(content)}, checksum=True)


def decode_card(frame: bytes | str) -> Card | None:
    """Who a server is, or None: it does not speak of Segue, a plain openpi server.

    Raises:
        SpecError: It speaks another version, of sizes that nobody could send, or of unknown kinds of dimensions.
        WireError: Malformed, or numbers out of range.
    """
    raw = frames.entries(frame, values=_VALUES).get("segue")
    if raw is None:
        return None
    version = frames.read(_VERSION, raw, "segue").protocol
    if version != PROTOCOL:
        raise SpecError(
            got=f"a server of protocol {version}",
            expected=f"protocol {PROTOCOL}",
            change="install the same version of Segue on both sides",
        )
    card = frames.read(_CARD, raw, "segue")
    kinds = Dimensions.of(*card.action_kinds), Dimensions.of(*card.observation_kinds)
    spec = PolicySpec(card.horizon, card.dt, card.observation_names, card.action_names, card.cameras, *kinds)
    return Card(spec, card.model, card.hash, card.handover, card.revision)


def check_spec(got: PolicySpec, expected: PolicySpec) -> None:
    """Raise `SpecError` unless two specifications agree, naming what does not; names and their order are part of it."""
    for name in ("horizon", "dt", "observation_names", "action_names", "cameras", "action_kinds", "observation_kinds"):
        theirs, ours = getattr(got, name), getattr(expected, name)
        if theirs == ours:
            continue
        if isinstance(ours, tuple) and sorted(theirs) == sorted(ours):
            where = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
            theirs, ours = f"{name} in another order: [{where}] is {theirs[where]!r}", f"{ours[where]!r} there"
        elif isinstance(ours, tuple):
            foreign, missing = sorted(set(theirs) - set(ours))[:4], sorted(set(ours) - set(theirs))[:4]
            theirs, ours = f"{len(theirs)} {name}, with {foreign}", f"{len(ours)}, with {missing}"
        else:
            theirs, ours = (getattr(each, "words", each) or "all linear" for each in (theirs, ours))
            theirs = f"{name} {theirs}"
        raise SpecError(f"a server with {theirs}", f"{ours}", "connect to the server of the policy for this robot")
