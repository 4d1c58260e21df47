"""segue serve, once its arguments are read."""

import hashlib
import logging
import ssl
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from segue.errors import SpecError
from segue.links.address import Address, is_loopback
from segue.links.server import PolicyServer, serve_until
from segue.runtime.signals import ends


def serve_command(
    console: Console,
    run: Path,
    method: str,
    *,
    host: str,
    port: int,
    unix: Path | None,
    token_file: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    insecure: bool,
    seed: int,
    device: str,
) -> None:
    """`segue serve`."""
    address = Address(
        host, port, unix, None if token_file is None else read_token(token_file),
        _tls(tls_certificate, tls_key), insecure,
    )  # fmt: skip
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console)])
    import torch

    from segue.links.worker import warm_up
    from segue.methods.load import chunk_policy
    from segue.methods.methods import method as find
    from segue.methods.parts import parts_of

    torch.set_num_threads(1)
    found = find(method)
    parts = parts_of(run, [found])[found.name]
    policy, handover = chunk_policy(run, method, seed=seed, device=device)
    digest = _digest(parts.policy, parts.autoencoder, parts.predictor)
    seconds = warm_up(policy)
    spec = policy.spec
    console.print(
        f"{found.label}: {len(spec.observation_names)} observations, chunks of {spec.horizon} steps of "
        f"{len(spec.action_names)} actions at {1 / spec.dt:g} Hz; one inference takes {1e3 * seconds:.1f} ms"
    )
    model = f"{run.resolve().name}/{found.policy} {found.name}"
    server = PolicyServer(policy, address, model=model, hash=digest, handover=handover)
    serve_until(server, ends(), lambda ready: _announce(console, ready, token_file))
    with suppress(OSError):  # the terminal may be what has ended it
        console.print("stopped")


def _digest(*runs: Path | None) -> str:
    """Of the weights of all parts of a policy, in this order, None where it has no such part."""
    digest = hashlib.sha256()
    for run in runs:
        if run is not None:
            digest.update((run / "last" / "policy.safetensors").read_bytes())
    return digest.hexdigest()[:16]


def read_token(file: Path) -> str:
    """The token in a file.

    Raises:
        SpecError: There is none.
    """
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: {error}", "a file with a token in it", "openssl rand -hex 16 > FILE") from error


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise SpecError("--tls-key without --tls-cert", "both, or the certificate alone", "give the certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SpecError(f"{certificate}: {error}", "a PEM certificate and its key", "check both files") from error
    return context


def _announce(console: Console, server: PolicyServer, token_file: Path | None) -> None:
    address, url = server.address, server.url
    token = ", token=..." if token_file else ""
    console.print(f"listening: {url}", soft_wrap=True)
    console.print(f"segue:     RemotePolicy({url!r}{token})", soft_wrap=True)
    if address.unix is None:
        key = ", api_key=..." if token_file else ""
        console.print(f"openpi:    WebsocketClientPolicy({url!r}{key})", soft_wrap=True)
        console.print(f"health:    {url.replace('ws', 'http', 1)}/healthz; Ctrl-C ends", soft_wrap=True)
        if not is_loopback(address.host) and address.tls is None:
            console.print("warning:   nothing is encrypted; others on the network can read along", style="yellow")
        if not is_loopback(address.host) and address.token is None:
            console.print("warning:   anybody who reaches this address can ask the policy", style="yellow")
