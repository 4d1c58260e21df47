"""The server: openpi's clients and ours, one inference at a time, and nothing that a peer does brings it down."""

import http.client
import json
import random
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from fakes.malformed_frames import frames
from fakes.served_policies import SPEC, WAIT, Affine, Gate, Watching, openpi_frame, openpi_read
from segue.errors import SpecError
from segue.links import jpeg, messages
from segue.links.address import Address
from segue.links.server import PolicyServer, running

STATE = np.array([0.25, 0.5, 0.75])
TOKEN = "correct horse battery"


def server(policy: Any, **settings: Any) -> PolicyServer:
    address = settings.pop("address", Address(port=0))
    return PolicyServer(policy, address, **settings)


@contextmanager
def client(to: PolicyServer, **settings: Any) -> Iterator[ClientConnection]:
    """A connection that has been greeted."""
    settings = {"compression": None, "proxy": None, "max_size": None, "close_timeout": WAIT} | settings
    with connect(to.url, **settings) as connection:
        openpi_read(received(connection))
        yield connection


def received(connection: ClientConnection) -> bytes:
    frame = connection.recv(timeout=WAIT)
    assert isinstance(frame, bytes), frame
    return frame


def refused(connection: ClientConnection) -> dict[str, Any]:
    frame = connection.recv(timeout=WAIT)
    assert isinstance(frame, str)
    return json.loads(frame)


def ask(connection: ClientConnection, **message: Any) -> None:
    connection.send(openpi_frame({"state": STATE} | {key.replace("segue_", "segue/"): v for key, v in message.items()}))


def answered(connection: ClientConnection) -> dict[str, Any]:
    return openpi_read(received(connection))


def works(connection: ClientConnection) -> None:
    """A good request is answered."""
    ask(connection)
    assert answered(connection)["actions"].shape == (8, 2)


def healthy(to: PolicyServer) -> None:
    host, port = to.url.removeprefix("ws://").split(":")
    request = http.client.HTTPConnection(host, int(port), timeout=WAIT)
    request.request("GET", "/healthz")
    response = request.getresponse()
    assert (response.status, response.read()) == (200, b"OK\n")
    request.close()


def test_an_openpi_client_is_served() -> None:
    with running(server(Affine(), model="toy", hash="12")) as it, connect(it.url, compression=None, proxy=None) as raw:
        card = openpi_read(received(raw))["segue"]
        assert (card["horizon"], card["dt"], card["model"], card["hash"]) == (8, 0.02, "toy", "12")
        assert tuple(card["action_names"]) == SPEC.action_names
        raw.send(openpi_frame({"observation/state": STATE, "prompt": "push", "observation/image": np.zeros((9, 9, 3))}))
        answer = answered(raw)
    assert answer["actions"].tolist() == [[0.25 + i, 0.5 + i] for i in range(8)]
    assert answer["server_timing"]["infer_ms"] >= 0
    assert not any(key.startswith("segue/") for key in answer)


def test_a_request_says_all_that_its_answer_depends_on() -> None:
    prefix = np.array([[5, 6], [7, 8]], np.float32)
    with running(server(Affine())) as it, client(it) as asking:
        ask(
            asking, segue_id=3, segue_start=10, segue_prefix=prefix, segue_delay=2, segue_execution_horizon=4,
            segue_votes=np.array([1, 1]), segue_captured=1.5, segue_deadline=WAIT,
        )  # fmt: skip
        answer = answered(asking)
    expected = np.arange(8)[:, None] + STATE[:2] + 10 + 200
    expected[:2] = prefix
    assert answer["actions"].tolist() == (expected + 2000).tolist()
    assert (answer["segue/id"], answer["segue/start"], answer["segue/captured"]) == (3, 10, 1.5)


def test_fault_8_what_does_not_fit_is_refused_and_the_client_may_go_on() -> None:
    faults = {"shape": np.zeros(4), "dtype": np.zeros(3, np.int64), "not-finite": np.array([0, np.nan, 0])}
    policy = Affine()
    with running(server(policy)) as it, client(it) as asking:
        for code, state in faults.items():
            ask(asking, state=state)
            assert refused(asking) == {"error": code, "field": "state"}
            works(asking)
    assert len(policy.asked) == len(faults)


def test_faults_15_and_17_200_malformed_frames_and_then_a_good_one() -> None:
    policy = Affine()
    with running(server(policy)) as it, client(it) as asking:
        for number, frame in enumerate(islice(frames(random.Random(5), SPEC), 200)):
            asking.send(frame)
            reply = asking.recv(timeout=WAIT)
            assert isinstance(reply, bytes) or set(json.loads(reply)) <= {"error", "field", "id", "cause"}
            if number % 10 == 9:
                works(asking)


def test_fault_15_text_and_pickles_are_refused() -> None:
    with running(server(Affine())) as it, client(it) as asking:
        for nonsense in ("hello", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."):
            asking.send(nonsense)
            assert refused(asking) == {"error": "malformed"}
        works(asking)


def test_fault_17_a_frame_beyond_the_limit_costs_its_connection_only() -> None:
    with running(server(Affine(), max_frame=4096)) as it, client(it) as good, client(it) as bad:
        bad.send(b"\x00" * 4097)
        with pytest.raises(ConnectionClosed) as closed:
            bad.recv(timeout=WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        works(good)


def test_fault_17_one_client_too_many_is_turned_away() -> None:
    with running(server(Affine(), max_clients=2)) as it, client(it) as first, client(it) as second:
        with pytest.raises(InvalidStatus, match="503"), client(it):
            pass
        works(first)
        works(second)
        healthy(it)


def test_fault_14_connections_that_say_nothing_keep_nobody_waiting() -> None:
    with running(server(Affine())) as it:
        host, port = it.url.removeprefix("ws://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=WAIT) for _ in range(20)]
        for one in silent[:10]:
            one.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with client(it) as asking:
            works(asking)
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Api-Key wrong"}, {"Authorization": f"Bearer {TOKEN}"},
                {"Authorization": f"Api-Key {TOKEN} "[:-2]}, {"Authorization": "Api-Key "}],
)  # fmt: skip
def test_fault_18_without_the_token_nobody_is_served(headers: dict[str, str]) -> None:
    with running(server(Affine(), address=Address(port=0, token=TOKEN))) as it:
        with pytest.raises(InvalidStatus, match="401"), client(it, additional_headers=headers):
            pass
        with client(it, additional_headers={"Authorization": f"Api-Key {TOKEN}"}) as asking:
            works(asking)
        healthy(it)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "robot.local", "", "127.0.0.1.example.org"])
def test_fault_18_other_machines_need_a_token_or_an_express_word(host: str) -> None:
    with pytest.raises(SpecError, match="without a token"):
        Address(host)
    with pytest.raises(SpecError, match="at least 16"):
        Address(host, token="guessable")
    assert Address(host, token=TOKEN).token == TOKEN
    assert Address(host, insecure=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_needs_none(host: str) -> None:
    assert Address(host).token is None


def test_no_web_page_commands_a_robot() -> None:
    with running(server(Affine())) as it, pytest.raises(InvalidStatus, match="403"):  # noqa: SIM117
        with client(it, origin="http://localhost"):
            pass


def test_a_port_that_is_taken_is_said() -> None:
    with running(server(Affine())) as it:
        port = int(it.url.rsplit(":", 1)[1])
        with pytest.raises(SpecError, match="a free address"), running(server(Affine(), address=Address(port=port))):
            pass


def test_fault_19_of_a_client_only_the_newest_request_waits() -> None:
    policy = Gate()
    with running(server(policy)) as it, client(it) as asking:
        ask(asking, segue_id=1)
        assert policy.entered.acquire(timeout=WAIT)
        for number in (2, 3, 4):
            ask(asking, segue_id=number)
        assert [refused(asking) for _ in range(2)] == [{"error": "superseded", "id": number} for number in (2, 3)]
        healthy(it)  # in the middle of an inference
        policy.go_on.release(2)
        assert [answered(asking)["segue/id"] for _ in range(2)] == [1, 4]


def test_fault_19_a_busy_client_does_not_starve_another() -> None:
    policy = Gate()
    with running(server(policy)) as it, client(it) as busy, client(it) as other:
        ask(busy, segue_id=1, segue_start=1)
        assert policy.entered.acquire(timeout=WAIT)
        for connection, start in ((other, 2), (busy, 3)):
            ask(connection, segue_id=10, segue_start=99)
            ask(connection, segue_id=start, segue_start=start)
            assert refused(connection)["error"] == "superseded"  # so the server has it, and it waits for its turn
        policy.go_on.release(3)
        assert answered(other)["segue/id"] == 2
        assert [answered(busy)["segue/id"] for _ in range(2)] == [1, 3]
    assert [asked.start for asked in policy.asked] == [1, 2, 3]


class Lengthy(Affine):
    spec = replace(SPEC, horizon=4096)

    def next_chunk(self, observation: Any, continuation: Any) -> Any:
        return np.zeros((4096, 2))


def test_fault_19_a_client_that_reads_nothing_keeps_nobody_waiting() -> None:
    with running(server(Lengthy())) as it, client(it, close_timeout=0.1) as deaf, client(it) as other:
        for _ in range(200):
            ask(deaf)
        for _ in range(3):
            ask(other)
            assert answered(other)["actions"].shape == (4096, 2)


def test_a_request_is_not_answered_after_its_deadline() -> None:
    policy = Gate()
    with running(server(policy)) as it, client(it) as first, client(it) as late:
        ask(first)
        assert policy.entered.acquire(timeout=WAIT)
        ask(late, segue_id=8, segue_deadline=0.0)
        policy.go_on.release(2)
        assert refused(late) == {"error": "expired", "id": 8}
        answered(first)
        works(first)
    assert len(policy.asked) == 2


class Broken(Affine):
    secret = "/home/robot/secret.txt"

    def next_chunk(self, observation: Any, continuation: Any) -> Any:
        kind = int(observation[0])
        if kind == 1:
            raise RuntimeError(self.secret)
        if kind == 2:
            raise SpecError(self.secret, "something", "something else")
        if kind == 3:
            return np.full((8, 2), np.nan)
        return np.zeros((7, 2)) if kind == 4 else super().next_chunk(observation, continuation)


def test_faults_3_and_6_a_failing_policy_is_a_short_code_and_the_rest_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(server(Broken())) as it, client(it) as asking:
        for kind, code in enumerate(("policy-failed", "refused"), start=1):
            ask(asking, state=np.array([kind, 0, 0.0]), segue_id=kind)
            assert refused(asking) == {"error": code, "id": kind}
        for kind in (3, 4):
            ask(asking, state=np.array([kind, 0, 0.0]), segue_id=kind)
            said = refused(asking)
            assert (said["error"], said["field"], said["id"]) == ("bad-answer", "actions", kind)
        works(asking)
    assert Broken.secret in caplog.text
    assert "Traceback" in caplog.text


def test_a_reset_is_passed_on_and_drops_what_waits() -> None:
    policy = Gate()
    with running(server(policy)) as it, client(it) as asking:
        ask(asking, segue_id=1)
        assert policy.entered.acquire(timeout=WAIT)
        ask(asking, segue_id=2)
        asking.send(messages.RESET)
        assert refused(asking) == {"error": "superseded", "id": 2}
        policy.go_on.release(2)
        assert answered(asking)["segue/id"] == 1
        assert received(asking) == messages.RESET
        works(asking)
    assert policy.resets == 1


def test_a_unix_socket_is_for_its_user_alone_and_does_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running(server(Affine(), address=Address(unix=path))) as it:
        assert it.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with unix_connect(str(path), compression=None) as asking:
            received(asking)
            works(asking)
            with pytest.raises(SpecError, match="another server"), running(server(Affine(), address=it.address)):
                pass
            works(asking)
    assert not path.exists()


def photograph(size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), (200, 100, 50), np.uint8)


def test_pictures_arrive_raw_and_as_jpeg() -> None:
    pytest.importorskip("simplejpeg")
    policy = Watching()
    front, wrist = photograph((16, 24)), photograph((16, 16))
    with running(server(policy)) as it, client(it) as asking:
        file = {"__jpeg__": True, "data": jpeg.encode_jpeg(wrist, 95)}
        ask(asking, front=front, wrist=file, prompt="fold")
        answered(asking)
    assert policy.prompt == "fold"
    assert policy.seen["front"].tolist() == front.tolist()
    assert np.abs(policy.seen["wrist"].astype(int) - wrist).max() <= 3


def test_fault_8_pictures_that_do_not_fit_are_refused() -> None:
    with running(server(Watching())) as it, client(it) as asking:
        good = {"front": photograph((16, 24)), "wrist": photograph((16, 16))}
        for name, wrong, code in (
            ("front", photograph((24, 16)), "shape"),
            ("front", photograph((16, 24)).astype(np.float32), "dtype"),
            ("wrist", {b"__jpeg__": True, b"data": b"GIF89a"}, "jpeg"),
            ("wrist", {b"__jpeg__": True, b"data": b"\x00" * 100_000}, "size"),
            ("wrist", None, "type"),
        ):
            ask(asking, **(good | {name: wrong}))
            assert refused(asking) == {"error": code, "field": name}
        ask(asking, front=good["front"])
        assert refused(asking) == {"error": "missing", "field": "wrist"}
        ask(asking, **good)
        answered(asking)
