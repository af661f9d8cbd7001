"""
How many calls a second the real server answers: `python benchmarks/loopback.py`.

10,000 scripted calls to `mock_providers.url("openai")` from another process, over connections that are kept alive,
with raw sockets, which cost the client next to nothing, and with http.client, as urllib3 and requests use it. Real
seconds of the whole, in rounds; the client's own work is in them, since both share the machine.
"""

import http.client
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.interception import Interception
from pytest_modelroute.wire.loopback import LoopbackServer
from pytest_modelroute.wire.scripted import MockProviders
from pytest_modelroute.wire.virtual_time import VirtualTime

CALLS, CONNECTIONS, ROUNDS, WANTED = 10_000, 8, 3, 1_500
PATH = "/v1/chat/completions"


def body(*, stream: bool) -> bytes:
    """A small chat request."""
    messages = [{"role": "user", "content": "how much do I owe?"}]
    return json.dumps({"model": "m", "messages": messages, "stream": stream}).encode()


def call_by_sockets(port: int, content: bytes, end: bytes) -> None:
    """Write on every connection, then read from each until its answer has ended."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n\r\n"
    request = head.encode() + content
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for _ in range(CALLS // CONNECTIONS):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            answer = b""
            while not answer.endswith(end):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
    for connection in connections:
        connection.close()


def call_by_http_client(port: int, content: bytes, _end: bytes) -> None:
    """One connection after another, each asked and read at once."""
    connections = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    for _ in range(CALLS // CONNECTIONS):
        for connection in connections:
            connection.request("POST", PATH, content)
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
    for connection in connections:
        connection.close()


CLIENTS: dict[str, tuple[Callable[[int, bytes, bytes], None], bytes, bytes]] = {
    "raw sockets": (call_by_sockets, body(stream=False), b"}"),
    "http.client": (call_by_http_client, body(stream=False), b""),
    "raw sockets, streams of 6 pieces": (call_by_sockets, body(stream=True), b"0\r\n\r\n"),
}


def calls_a_second(name: str) -> float:
    """One round: a server of its own, and the client in another process."""
    wire = Wire(prices=PriceBook())
    interception = Interception(wire)
    clock = wire.clock = VirtualTime()
    server = LoopbackServer(wire, interception.routes)
    wire.scripts = MockProviders(wire.calls, http=interception.http, serve=server.port)
    wire.scripts.on(model="m").replies("You owe nothing today.")
    port = server.port("openai", None)
    clock.start()
    try:
        command = [sys.executable, str(Path(__file__)), name, str(port)]
        seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        server.stop()
        clock.stop()
    assert len(wire.calls) == CALLS
    assert wire.failures() == []
    return CALLS / seconds


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 3:
        call, content, end = CLIENTS[sys.argv[1]]
        start = time.perf_counter()
        call(int(sys.argv[2]), content, end)
        print(time.perf_counter() - start)
        return
    print(f"{CALLS:,} calls over {CONNECTIONS} connections, median of {ROUNDS} rounds; wanted are {WANTED:,} a second")
    for name in CLIENTS:
        measured = statistics.median(calls_a_second(name) for _ in range(ROUNDS))
        print(f"  {name:34} {measured:7,.0f} calls a second")


if __name__ == "__main__":
    main()
