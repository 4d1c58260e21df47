"""A TCP balancer as small as can be: each connection goes to the next server that listens."""

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def balanced(ports: Sequence[int]) -> Iterator[str]:
    """Its URL; `ports` may change meanwhile."""
    turns = itertools.count()
    ends: list[socket.socket] = []

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                front, _ = listening.accept()
                ends.append(front)
                for _ in ports:
                    with suppress(OSError):
                        back = socket.create_connection(("127.0.0.1", ports[next(turns) % len(ports)]))
                        ends.append(back)
                        for pair in ((front, back), (back, front)):
                            threading.Thread(target=_pump, args=pair, daemon=True).start()
                        break
                else:
                    front.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept, args=(listening,), daemon=True)
        accepting.start()
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    accepting.join()
    for end in ends:
        end.close()
