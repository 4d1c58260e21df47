"""The card that a policy server shows when a client connects, and its checks.

    {..., "segue": {protocol, horizon, dt, observation_names, action_names, model, hash, cameras, handover,
                    revision, action_kinds, observation_kinds}}

The frame is openpi's metadata: whatever else a server tells its clients stands beside it, and openpi's clients are
handed it as it is. Names come in their order, which is part of what is agreed: a robot whose joints are listed
differently moves the wrong ones.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from msgspec.msgpack import Decoder

from segue.core.spec import LONGEST_NAME, PolicySpec
from segue.errors import SpecError, WireError
from segue.links import frames
from segue.plan.plan import Handover

PROTOCOL: Final = 1
"""Number that grows when messages change so that the other side must know."""
REVISION: Final = 1
"""Number that grows when a request may say more; a client tells an older server only what that one knows."""
_VALUES: Final = 4 * frames.MAX_DIMENSION
_SMALLER: Final = "serve a policy for smaller pictures, fewer names, shorter chunks"
_Name = Annotated[str, Meta(max_length=LONGEST_NAME)]


class _Version(msgspec.Struct):
    protocol: int


_VERSION, _SAID = Decoder(_Version), Decoder(dict[str, Any])


@dataclass(frozen=True)
class Card:
    """Describes a server to a client that connects.

    Attributes:
        spec: Specification of its policy.
        model: Its name, for people.
        hash: Hash of its weights; equal for equal policies.
        handover: How its chunks take over; a server that does not say it means chunks that are joined.
        revision: Revision that it understands; a server that does not say it is of revision 0.

    Raises:
        SpecError: Chunks or pictures that do not fit a frame.
    """

    spec: PolicySpec
    model: _Name = ""
    hash: _Name = ""
    handover: Handover = Handover.CONTINUE
    revision: Annotated[int, Meta(ge=0)] = REVISION

    def __post_init__(self) -> None:
        chunk = 4 * self.spec.horizon * len(self.spec.action_names)
        if chunk > frames.MAX_FRAME // 2:  # a request names one, and what was executed of another
            raise SpecError(f"a policy with chunks of {chunk} bytes", f"up to {frames.MAX_FRAME // 2}", _SMALLER)
        if (pictures := self.spec.picture_bytes) > frames.LARGEST_FRAME:
            raise SpecError(f"a policy with {pictures} bytes of pictures", f"up to {frames.LARGEST_FRAME}", _SMALLER)


def encode_card(card: Card) -> bytes:
    """Make the frame that greets a client."""
    about = {name: msgspec.to_builtins(value) for name, value in vars(card).items() if name != "spec"}
    return frames.encode({"segue": {"protocol": PROTOCOL, **card.spec.said(), **about}}, checksum=True)


def decode_card(frame: bytes | str) -> Card | None:
    """Read the card of a server, or None: a plain openpi server does not speak of Segue.

    Raises:
        SpecError: It speaks another version, or of a policy that there cannot be or that nobody could send.
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
    said = frames.read(_SAID, raw, "segue")
    try:
        return msgspec.convert({"revision": 0, **said, "spec": PolicySpec.of(said)}, Card)
    except msgspec.ValidationError as error:
        raise WireError("type", "segue", str(error), "what a card says", "see segue.links.card") from error
