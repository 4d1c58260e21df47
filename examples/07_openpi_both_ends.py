"""openpi at either end of the wire: a policy of ours for its clients, and a server of its own under our runtime.

Ours continues chunks by any method, theirs is continued by what works on finished ones. Stand-ins speak for openpi.

    python examples/07_openpi_both_ends.py
"""

from contextlib import suppress
from threading import Thread

import numpy as np
from websockets import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from segue.lab import task
from segue.learn import RTC, ContinuingPolicy, CrossFade, FinishedPolicy, config_for, policy_for
from segue.links import frames
from segue.robot import Plan, PolicyServer, PolicySpec, RemotePolicy, WindowQuantile, running


def their_server(connection: ServerConnection) -> None:
    connection.send(frames.encode({"model": "a stand-in"}, checksum=False))  # greets with metadata
    with suppress(ConnectionClosed):
        for frame in connection:
            state = frames.floats(frames.entries(frame)["observation/state"], "state", (2,))
            chunk = np.linspace(1, 0, 16, dtype=np.float32)[:, None] * state
            connection.send(frames.encode({"actions": chunk}, checksum=False))


episodes = task("adroit-door").demonstrations()
ours = ContinuingPolicy(policy_for(config_for("flow", episodes, horizon=16), episodes), RTC())  # untrained
seen = {"observation/state": episodes.observation[0], "prompt": "open the door"}
with running(PolicyServer(ours)) as server, connect(server.url, compression=None) as client:
    client.recv()  # metadata
    client.send(frames.encode(seen, checksum=False))
    print("openpi's client got", *sorted(frames.entries(client.recv())))

with serve(their_server, "127.0.0.1", 0) as server:
    Thread(target=server.serve_forever).start()
    spec = PolicySpec(16, 0.05, ("x", "y"), ("x", "y"))  # openpi's servers do not say what they serve
    remote = RemotePolicy(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", spec=spec)
    policy, plan = FinishedPolicy(remote, CrossFade()), Plan(16, 2, 6, WindowQuantile(0))
    position = np.ones(2, np.float32)
    for _ in range(30):
        if request := plan.request():
            plan.deliver(request, policy.next_chunk(position, request.continuation))
        if (action := plan.tick().action) is not None:
            position = action
    policy.close()
    server.shutdown()
print(f"driven by openpi's server: {np.linalg.norm(position):.3f} from the goal")
