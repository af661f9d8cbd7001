"""
Why vcrpy's patches are not used: `python benchmarks/vcrpy_threads.py`.

64 different requests are recorded one by one, and replayed by 64 threads at once, by plain vcrpy and by us. Counted is
how many of the replayed ones reach the server all the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import requests
import vcr
from replay import replaying

THREADS, ROUNDS = 64, 5
MATCH_ON = ["method", "uri", "body"]


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, and counts."""

    reached = 0

    def do_POST(self) -> None:
        """Count and answer."""
        type(self).reached += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """With room for all threads at once."""

    request_queue_size = 2 * THREADS


@contextmanager
def serving() -> Iterator[str]:
    """The URL of the server."""
    server = Server(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def replay_in_threads(url: str) -> int:
    """How many requests of the threads reach the server."""
    before = Echo.reached
    threads = [
        Thread(target=lambda number=number: requests.post(url, data=str(number), timeout=10))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Echo.reached - before


def with_vcrpy(path: Path, url: str) -> int:
    """Plain vcrpy."""
    with vcr.use_cassette(str(path), record_mode="none", match_on=MATCH_ON):
        return replay_in_threads(url)


def with_ours(path: Path, url: str) -> int:
    """Ours, on the cassette that vcrpy has recorded."""
    with replaying(path):
        return replay_in_threads(url)


def main() -> None:
    """Measure and print."""
    variants: dict[str, Callable[[Path, str], int]] = {"vcrpy": with_vcrpy, "ours": with_ours}
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        path = Path(folder) / "echoes.yaml"
        with vcr.use_cassette(str(path), record_mode="new_episodes", match_on=MATCH_ON):
            for number in range(THREADS):
                requests.post(url, data=str(number), timeout=10)
        for name, replay in variants.items():
            reached = [replay(path, url) for _ in range(ROUNDS)]
            print(f"{name:6} of {THREADS} replayed requests reached the server: {', '.join(map(str, reached))}")


if __name__ == "__main__":
    main()
