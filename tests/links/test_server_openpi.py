"""openpi's own client against the server, and its encoding against ours, where an interpreter that has it is named.

    make test-openpi
    SEGUE_OPENPI_PYTHON=/somewhere/bin/python pytest tests/links/test_server_openpi.py

It cannot be installed beside Segue: it needs NumPy 1.
"""

import json
import os
import subprocess

import numpy as np
import pytest

from fakes.served_policies import WAIT, Affine
from segue.core.chunk import nothing_to_continue
from segue.core.observation import Observation
from segue.links.address import Address
from segue.links.layouts import layout
from segue.links.openpi import openpi_policy
from segue.links.server import PolicyServer, running

PYTHON = os.environ.get("SEGUE_OPENPI_PYTHON")
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
