"""segue serve: a trained policy for others on the network."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.screen import console
from segue.errors import SpecError

if TYPE_CHECKING:
    import ssl

    from segue.links.server import PolicyServer

commands = typer.Typer()


@commands.command()
def serve(
    run: Annotated[Path, typer.Argument(help="folder of a trained policy")],
    method: options.Method = "predictive",
    host: Annotated[str, typer.Option(help="interface; other machines need a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    unix: Annotated[Path | None, typer.Option(help="Unix socket to listen on instead")] = None,
    token_file: Annotated[Path | None, typer.Option(help="file with the token that clients must present")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="its key, PEM")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="other machines need no token")] = False,
    seed: Annotated[int, typer.Option(help="of the policy's noise")] = 0,
    device: options.Device = "cpu",
) -> None:
    """Serve a trained policy over a websocket. `RemotePolicy` and openpi's clients can ask it.

    segue serve runs/adroit-door/seed-0 --method legato
    """
    import logging

    from rich.logging import RichHandler

    from segue.links.address import Address
    from segue.links.server import PolicyServer, serve_until
    from segue.links.worker import warm_up
    from segue.runtime.signals import ends

    token = None if token_file is None else _read_token(token_file)
    address = Address(host, port, unix, token, _tls(tls_cert, tls_key), insecure)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console)])
    import torch

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
    serve_until(server, ends(), lambda ready: _announce(ready, token_file))
    with suppress(OSError):  # the terminal may be what has ended it
        console.print("stopped")


def _digest(*runs: Path | None) -> str:
    """Of the weights of all parts of a policy, in this order, None where it has no such part."""
    import hashlib

    digest = hashlib.sha256()
    for run in runs:
        if run is not None:
            digest.update((run / "last" / "policy.safetensors").read_bytes())
    return digest.hexdigest()[:16]


def _read_token(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: {error}", "a file with a token in it", "openssl rand -hex 16 > FILE") from error


def _tls(certificate: Path | None, key: Path | None) -> "ssl.SSLContext | None":
    import ssl

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


def _announce(server: "PolicyServer", token_file: Path | None) -> None:
    from segue.links.address import is_loopback

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
