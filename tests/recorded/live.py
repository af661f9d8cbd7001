"""A provider on 127.0.0.1 to record from: it speaks every language, takes its time, and encodes what it says."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any, Final
from urllib.parse import unquote

import brotli  # type: ignore[import-not-found, import-untyped, unused-ignore]
import zstandard

from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, ToolCall, Usage, split_text
from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.registry import language_for

HEAD: Final = 0.015
"Seconds until the head of a reply."
GAP: Final = 0.012
"Seconds between the pieces of a stream."
PIECES: Final = 4
"Pieces of a text in a stream."
Encode = Callable[[bytes, bool], bytes]


def everything(request: ProviderRequest) -> ProviderReply:
    """A reply with all that a client may show; its prompt is said again, so that replies differ."""
    return ProviderReply(
        text=f"one two three four of {request.prompt}",
        usage=Usage(fresh_input=7, output=5),
        tool_calls=(ToolCall(name="look_up", arguments={"order": 7}),),
    )


def words(request: ProviderRequest) -> ProviderReply:
    """A reply of words alone, which says the prompt again."""
    return ProviderReply(text=f"re: {request.prompt}", usage=Usage(fresh_input=7, output=5))


def _gzip() -> Encode:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return lambda data, last: packer.compress(data) + packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _br() -> Encode:
    packer = brotli.Compressor()
    return lambda data, last: packer.process(data) + (packer.finish() if last else packer.flush())


def _zstd() -> Encode:
    packer = zstandard.ZstdCompressor().compressobj()
    finish, block = zstandard.COMPRESSOBJ_FLUSH_FINISH, zstandard.COMPRESSOBJ_FLUSH_BLOCK
    return lambda data, last: packer.compress(data) + packer.flush(finish if last else block)


_ENCODERS: Final[dict[str, Callable[[], Encode]]] = {
    "identity": lambda: lambda data, _last: data,
    "gzip": _gzip,
    "br": _br,
    "zstd": _zstd,
}


class Live(ThreadingHTTPServer):
    """
    The server.

    Attributes:
        provider: Whose dialect it speaks where several have one path.
        encoding: How it encodes a body, where the client accepts that.
        encoded: The encodings used so far.
        asked: The prompts so far, in the order in which they came.
        refusals: Calls that are refused as too many, before others are answered.
        head: Seconds until the head of a reply.
        reply: What it says.

    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, provider: str, encoding: str, reply: Callable[[ProviderRequest], ProviderReply]) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.provider = provider
        self.encoding = encoding
        self.encoded: set[str] = set()
        self.asked: list[str] = []
        self.refusals = 0
        self.head = HEAD
        self.reply = reply
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its base URL, without a version."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is none of the server's business."""

    def refuses(self) -> bool:
        """Whether this call is one too many."""
        with self.lock:
            self.refusals -= 1
            return self.refusals >= 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Live

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        path = unquote(self.path.partition("?")[0])
        language = language_for("POST", path, self.server.provider)
        assert language is not None
        request = language.read_request(body, path)
        self.server.asked.append(request.prompt)
        sleep(self.server.head)
        if self.server.refuses():
            self._refuse(language)
        elif request.stream:
            self._stream(language, request)
        else:
            self._whole(language.write_reply(request, self.server.reply(request)))

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._whole(json.dumps({"path": self.path}).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Keep the output of the tests clean."""

    def _refuse(self, language: Language) -> None:
        error = language.write_error(Failure(kind="rate_limited", message="slow down", retry_after=0))
        self._begin(error.status, {**error.headers, "retry-after": "0", "content-length": str(len(error.body))})
        self.wfile.write(error.body)

    def _whole(self, body: bytes) -> None:
        encoding = self._encoding()
        packed = _ENCODERS[encoding]()(body, True)
        self._begin(200, {"content-type": "application/json", "content-length": str(len(packed))}, encoding)
        self.wfile.write(packed)

    def _stream(self, language: Language, request: ProviderRequest) -> None:
        reply = self.server.reply(request)
        frames = language.write_stream(request, reply, split_text(reply.text, PIECES))
        encoding = self._encoding()
        encode = _ENCODERS[encoding]()
        self._begin(200, {"content-type": language.stream_type, "transfer-encoding": "chunked"}, encoding)
        for number, frame in enumerate(frames, start=1):
            if number > 1:
                sleep(GAP)
            packed = encode(frame, number == len(frames))
            self.wfile.write(b"%x\r\n%b\r\n" % (len(packed), packed))
        self.wfile.write(b"0\r\n\r\n")

    def _encoding(self) -> str:
        accepted = (self.headers["accept-encoding"] or "").replace(" ", "").split(",")
        encoding = self.server.encoding if self.server.encoding in accepted else "identity"
        self.server.encoded.add(encoding)
        return encoding

    def _begin(self, status: int, headers: dict[str, str], encoding: str = "identity") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if encoding != "identity":
            self.send_header("content-encoding", encoding)
        self.end_headers()


@contextmanager
def live(
    provider: str = "openai",
    *,
    encoding: str = "identity",
    reply: Callable[[ProviderRequest], ProviderReply] = words,
) -> Generator[Live]:
    """Serve until the end of the block, after which the port is closed."""
    with Live(provider, encoding, reply) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
