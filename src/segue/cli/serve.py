"""segue serve | load-test: a trained policy for others on the network, and how many robots it can be shared by."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli import options
from segue.cli.options import console
from segue.errors import RemoteError, SpecError

if TYPE_CHECKING:
    import ssl

    from segue.links.server import PolicyServer
    from segue.plan.plan import Handover
    from segue.policies.chunk_policy import ServingPolicy

commands = typer.Typer()


@commands.command()
def serve(
    run: Annotated[
        Path | None, typer.Argument(callback=options.of_the_hub, help="folder of a trained policy, or hf:USER/NAME")
    ] = None,
    lerobot: Annotated[
        Path | None, typer.Option(help="pretrained_model folder of LeRobot instead: pi0, pi0.5, SmolVLA, ACT, ...")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="with --lerobot: fps of its data set")] = None,
    state_names: Annotated[
        str | None, typer.Option(help="with --lerobot: the robot's, with commas", show_default="state 0, ...")
    ] = None,
    action_names: Annotated[str | None, typer.Option(help="the same", show_default="action 0, ...")] = None,
    method: Annotated[
        str | None, typer.Option(help="one of `segue list`", show_default="predictive; rtc with --lerobot")
    ] = None,
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
    from segue.links.server import MOST_AT_ONCE, PolicyServer, serve_until
    from segue.links.serving.capacity import measured
    from segue.links.worker import warm_up
    from segue.runtime.signals import ends

    token = None if token_file is None else _read_token(token_file)
    address = Address(host, port, unix, token, _tls(tls_cert, tls_key), insecure)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console)])
    import torch

    torch.set_num_threads(1)
    if run is not None and lerobot is None:
        served = _of_run(run, method or "predictive", seed, device)
    elif lerobot is not None and run is None:
        served = _of_lerobot(lerobot, method or "rtc", rate, (state_names, action_names), seed, device)
    else:
        raise SpecError("a run and a folder of LeRobot" if run else "nothing to serve", "one of them", "name one")
    from segue.policies.chunk_policy import SharedPolicy

    policy, handover = SharedPolicy(served.policy, seed), served.handover
    seconds = warm_up(policy)
    capacity = measured(SharedPolicy(served.policy, seed), MOST_AT_ONCE)  # with noise of its own
    spec = policy.spec
    console.print(
        f"{served.label}: {len(spec.observation_names)} observations, chunks of {spec.horizon} steps of "
        f"{len(spec.action_names)} actions at {1 / spec.dt:g} Hz; one inference takes {1e3 * seconds:.1f} ms, "
        f"of {capacity.most} robots together {1e3 * capacity.seconds(capacity.most):.1f} ms: carries {capacity.robots}"
    )
    server = PolicyServer(policy, address, model=served.model, hash=served.digest, handover=handover, capacity=capacity)
    serve_until(server, ends(), lambda ready: _announce(ready, token_file))
    with suppress(OSError):  # the terminal may be what has ended it
        console.print("stopped")


@commands.command("load-test")
def load_test(
    url: Annotated[str, typer.Argument(help="address of a policy server: ws://127.0.0.1:8000")],
    robots: Annotated[int, typer.Option(min=1, max=1024, help="at most")] = 16,
    rate: Annotated[
        float | None, typer.Option(min=0.1, max=2000, help="of their control loops, Hz", show_default="policy's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="executed from each chunk", show_default="half of it")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="for each number of robots")] = 10.0,
    token: options.Token = None,
) -> None:
    """Ask a policy server as many robots would. It shows how long they wait.

    segue load-test ws://127.0.0.1:8000 --robots 64 --rate 50 --seconds 10
    """
    import asyncio

    from rich.table import Table

    from segue.links.serving.load import Load, curve, loaded

    load = Load(url, rate, steps, {"Authorization": f"Api-Key {token}"} if token else {})
    table = Table(title=f"{url}: from asking to the answer", title_justify="left")
    for name in ("robots", "answers per s", "median", "99 of 100", "missed", "refused"):
        table.add_column(name, justify="right", no_wrap=name != "refused")
    problem, cause, starved = None, "", list[str]()
    for number in curve(robots):
        try:
            found = asyncio.run(loaded(load, number, seconds))
        except RemoteError as error:
            problem = error
            break
        cause = found.cause or cause
        if found.starved:
            first, more = ", ".join(map(str, found.starved[:8])), len(found.starved) - 8
            starved.append(f"of {number}, robot {first}{f' and {more} more' if more > 0 else ''}")
        median, late = 1e3 * found.quantile(0.5), 1e3 * found.quantile(0.99)
        refused = "; ".join(f"{count} {word}" for word, count in found.refused.most_common(2))
        table.add_row(
            str(number), f"{found.answered / seconds:.1f}", f"{median:.1f} ms", f"{late:.1f} ms",
            f"{100 * found.missed / max(found.asked, 1):.1f} %", refused,
        )  # fmt: skip
    if table.row_count:
        console.print(table)
    if starved:
        console.print(f"without any answer in time: {'; '.join(starved)}", highlight=False, soft_wrap=True)
    if cause:
        console.print(f"refused: {cause}", markup=False, soft_wrap=True)
    if problem is not None:
        raise problem


@dataclass(frozen=True)
class _Served:
    """A policy, and what its server says of it."""

    policy: "ServingPolicy"
    handover: "Handover"
    label: str
    model: str
    digest: str


def _of_run(run: Path, method: str, seed: int, device: str) -> _Served:
    from segue.methods.load import chunk_policy
    from segue.methods.methods import method as find
    from segue.methods.parts import parts_of

    found = find(method)
    parts = parts_of(run, [found])[found.name]
    policy, handover = chunk_policy(run, method, seed=seed, device=device)
    weights = (
        each / "last" / "policy.safetensors" for each in (parts.policy, parts.autoencoder, parts.predictor) if each
    )
    return _Served(
        policy, handover, found.label, f"{run.resolve().name}/{found.policy} {found.name}", _digest(*weights)
    )


def _of_lerobot(
    folder: Path, method: str, rate: float | None, names: tuple[str | None, str | None], seed: int, device: str
) -> _Served:
    from segue.data.choice import separated
    from segue.integrations.lerobot.policies.checkpoint import continuing
    from segue.methods.methods import method as find

    if rate is None:
        raise SpecError(f"--lerobot {folder} without --rate", "the fps of its data set", "give it, such as --rate 30")
    found = find(method)
    state, action = (None if each is None else separated(each, "names") for each in names)
    policy = continuing(
        folder, found, dt=1 / rate, observation_names=state, action_names=action, device=device, seed=seed
    )
    name = f"{folder.resolve().name} {found.name}"
    return _Served(policy, found.handover, found.label, name, _digest(folder / "model.safetensors"))


def _digest(*files: Path) -> str:
    """Of the weights of all parts of a policy, in this order."""
    import hashlib

    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as weights:
            while block := weights.read(1 << 20):
                digest.update(block)
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
