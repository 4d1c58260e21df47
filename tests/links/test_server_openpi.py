"""openpi's own client against the server, and its encoding against ours, where an interpreter that has it is named.

    make test-openpi
    make test-openpi SEGUE_OPENPI_SOURCE=/somewhere/openpi
    SEGUE_OPENPI_PYTHON=/somewhere/bin/python pytest tests/links/test_server_openpi.py

The client cannot be installed beside Segue: it needs NumPy 1. The server is not on the package index at all: it is run
from a checkout of openpi, where one is named.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import typer

from fakes.served_policies import WAIT, Affine
from segue.cli.run import run_
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation
from segue.links.address import Address
from segue.links.layouts import layout
from segue.links.openpi import openpi_policy
from segue.links.server import PolicyServer, running
from segue.trace.file import read
from segue.trace.records import DELIVERIES

PYTHON = os.environ.get("SEGUE_OPENPI_PYTHON")
SOURCE = os.environ.get("SEGUE_OPENPI_SOURCE") or None
EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN = "correct horse battery"

CLIENT = """
import json, sys
import numpy as np
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.websocket_client_policy import WebsocketClientPolicy

policy = WebsocketClientPolicy(host=sys.argv[1], api_key=sys.argv[2])
seen = {
    "observation/state": np.array([0.25, 0.5, 0.75]),
    "observation/image": np.zeros((224, 224, 3), np.uint8),
    "prompt": "do something",
}
said = {"horizon": policy.get_server_metadata()["segue"]["horizon"]}
answer = policy.infer(seen)
said["actions"], said["infer_ms"] = answer["actions"].tolist(), answer["server_timing"]["infer_ms"]
broker = ActionChunkBroker(policy, action_horizon=3)
said["steps"] = [broker.infer({"state": np.ones(3, np.float32)})["actions"].tolist() for _ in range(4)]
try:
    policy.infer({"state": np.ones(4)})
except RuntimeError as error:
    said["error"] = str(error)
said["after"] = policy.infer(seen)["actions"].shape
print(json.dumps(said))
"""


@pytest.mark.skipif(PYTHON is None, reason="SEGUE_OPENPI_PYTHON names no interpreter with openpi-client")
def test_openpi_s_own_client_is_served() -> None:
    assert PYTHON is not None
    with running(PolicyServer(Affine(), Address(port=0, token=TOKEN))) as server:
        done = subprocess.run(
            [PYTHON, "-c", CLIENT, server.url, TOKEN], capture_output=True, text=True, timeout=2 * WAIT, check=False
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["horizon"] == 8
    assert said["actions"] == [[0.25 + i, 0.5 + i] for i in range(8)]
    assert said["infer_ms"] >= 0
    assert said["steps"] == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [1.0, 1.0]]
    assert '"error": "shape"' in said["error"]
    assert said["after"] == [8, 2]


SERVER = """
import asyncio, sys, traceback
import numpy as np
import websockets.asyncio.server as server
from openpi_client import msgpack_numpy

async def handle(connection):
    packer = msgpack_numpy.Packer()
    await connection.send(packer.pack({"reset_pose": np.zeros(14)}))
    while True:
        seen = msgpack_numpy.unpackb(await connection.recv())
        assert {each.shape for each in seen["images"].values()} == {(3, 224, 224)}, seen["images"].keys()
        assert all(each.dtype == np.uint8 for each in seen["images"].values())
        actions = seen["state"].astype(np.float64) + 0.01 * np.arange(50)[:, None]
        timing = {"infer_ms": np.float64(1)}
        await connection.send(packer.pack({"actions": actions, "state": seen["state"], "server_timing": timing}))

async def main():
    async with server.serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as serving:
        print(serving.sockets[0].getsockname()[1], flush=True)
        await serving.serve_forever()

asyncio.run(main())
"""


@pytest.mark.skipif(PYTHON is None, reason="SEGUE_OPENPI_PYTHON names no interpreter with openpi-client")
def test_their_encoding_is_read_and_ours_by_theirs() -> None:
    """Their msgpack_numpy behind a websocket of the test's own: openpi's server is not on the package index."""
    assert PYTHON is not None
    aloha = layout("aloha")
    robot = aloha.example(50)
    with subprocess.Popen([PYTHON, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            policy = openpi_policy(f"ws://127.0.0.1:{int(process.stdout.readline())}", aloha, robot, deadline=WAIT)
            state = np.linspace(-1, 1, 14, dtype=np.float32)
            assert policy.spec.horizon == 50
            seen = Observation(state, {name: np.zeros((224, 224, 3), np.uint8) for name in robot.cameras}, "go")
            chunk = policy.next_chunk(seen, nothing_to_continue(0, 14, 10))
            assert chunk == pytest.approx(state + 0.01 * np.arange(50)[:, None], abs=1e-6)
            policy.close()
        finally:
            process.kill()


THEIR_SERVER = """
import importlib.util, random, sys, time
import numpy as np

source, port, faults = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
sys.path.insert(0, source + "/packages/openpi-client/src")
spec = importlib.util.spec_from_file_location("theirs", source + "/src/openpi/serving/websocket_policy_server.py")
theirs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(theirs)


class Dummy:
    seen = []

    def infer(self, seen):
        state = np.asarray(seen["observation"]["state"], float)
        self.seen.append(tuple(state))
        moved = len(set(self.seen)) - 2  # asked with zeros and where it starts before it moves
        fault = faults[moved] if 0 <= moved < len(faults) else "none"
        time.sleep(random.uniform(0.04, 0.12))
        chunk = 0.5 + (state[:2] - 0.5) * np.exp(-np.arange(1, 51) / 40)[:, None]
        if fault == "raises":
            raise ValueError("a fault of the policy")
        if fault == "nan":
            chunk[3] = np.nan
        if fault == "wide":
            chunk = np.hstack([chunk, chunk])
        return {"state": state} if fault == "nothing" else {"actions": chunk, "state": state}


theirs.WebsocketPolicyServer(Dummy(), "127.0.0.1", port, {"reset_pose": [0.0] * 14}).serve_forever()
"""


@contextmanager
def their_server(*faults: str) -> Iterator[str]:
    """openpi's WebsocketPolicyServer around a dummy policy, whose requests end in these faults one after the other."""
    assert PYTHON is not None
    assert SOURCE is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([PYTHON, "-c", THEIR_SERVER, SOURCE, str(port), *faults]) as process:
        try:
            for _ in range(round(WAIT / 0.1)):
                try:
                    assert urlopen(f"http://127.0.0.1:{port}/healthz").read() == b"OK\n"
                    break
                except URLError:
                    time.sleep(0.1)
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.skipif(None in (PYTHON, SOURCE), reason="SEGUE_OPENPI_SOURCE names no checkout of openpi")
@pytest.mark.parametrize("faults", [(), ("none", "raises", "none", "nan", "wide", "none", "nothing")])
def test_a_robot_is_driven_by_their_server(
    faults: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.syspath_prepend(EXAMPLES)
    (arranged := tmp_path / "layout.toml").write_text('nested = true\n[state]\n"observation/state" = 2\n')
    settings: dict[str, Any] = {"layout": str(arranged), "rate": 50.0, "seconds": 8.0, "trace": tmp_path / "trace"}
    with their_server(*faults) as url, pytest.raises(typer.Exit) as ended:
        run_(robot="my_arm:MyArm", openpi=url, predictor="none", execution_horizon=20, **settings)
    assert ended.value.exit_code == 0
    trace = read(tmp_path / "trace")
    failed = trace.chunks["outcome"] == DELIVERIES.index(None)
    assert np.count_nonzero(failed) == sum(each != "none" for each in faults)
    assert len(trace.chunks) > len(faults)
    nothing, sent = np.isnan(trace.ticks["action"]).all(axis=1), np.isfinite(trace.ticks["action"]).all(axis=1)
    assert np.array_equal(sent, ~nothing)
    assert sent.any()
