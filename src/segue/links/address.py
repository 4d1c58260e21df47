"""Where a policy server listens, and the rule that nobody commands a robot from another machine by accident."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Final

from segue.errors import SpecError

SHORTEST_TOKEN: Final = 16


@dataclass(frozen=True)
class Address:
    """Says where a server listens, and who may connect.

    Attributes:
        host: Name or address of the interface.
        port: 0 takes a free one.
        unix: Path of a Unix socket to listen on instead, for processes of the same user.
        token: Token that clients must present (``Authorization: Api-Key ...``).
        tls: Certificate and key.
        insecure: Let anybody connect from other machines.

    Raises:
        SpecError: Other machines could connect without a token, and nobody said that this is meant; or a short token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    unix: Path | None = None
    token: str | None = None
    tls: SSLContext | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise SpecError(
                f"a token of {len(self.token)} characters",
                f"at least {SHORTEST_TOKEN}",
                "make one, for instance with: openssl rand -hex 16",
            )
        if self.unix is None and self.token is None and not self.insecure and not is_loopback(self.host):
            raise SpecError(
                f"to listen on {self.host} without a token",
                "a token that clients present, or this machine only (127.0.0.1)",
                "give a token (--token-file), or say that anybody may command the policy (--insecure)",
            )


def is_loopback(host: str) -> bool:
    """Tell whether a name or address can only be reached from this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
