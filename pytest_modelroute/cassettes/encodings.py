"""Content encodings: bodies as they were before they were compressed."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from pytest_modelroute.errors import RecordingError

_NAMES: Final = {"x-gzip": "gzip", "x-deflate": "deflate"}
_BROTLI: Final = ("brotli", "brotlicffi")
_ZSTD: Final = ("compression.zstd", "backports.zstd", "zstandard")


class _Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


def decoded(body: bytes, encoding: str, sizes: Sequence[int] | None = None) -> tuple[bytes, list[int] | None]:
    """
    A body without its content encoding, and how many of its bytes each chunk that was received brought.

    Args:
        body: As received.
        encoding: The header content-encoding; several are undone from the last to the first.
        sizes: Bytes of each chunk, as received.

    Raises:
        RecordingError: The encoding is unknown, needs a package that is not installed, or is not what the body has.

    """
    names = [name for name in reversed(encoding.lower().replace(" ", "").split(",")) if name not in ("", "identity")]
    if not body:
        return body, None if sizes is None else list(sizes)
    chunks = _chunks(body, sizes)
    for name in names:
        chunks = _undone(_NAMES.get(name, name), chunks)
    return b"".join(chunks), None if sizes is None else [len(chunk) for chunk in chunks][: len(sizes)]


def _chunks(body: bytes, sizes: Sequence[int] | None) -> list[bytes]:
    if sizes is None:
        return [body]
    if sum(sizes) != len(body):
        raise RecordingError(f"the chunks of a body have {sum(sizes)} bytes, and the body has {len(body)}")
    chunks, at = list[bytes](), 0
    for size in sizes:
        chunks.append(body[at : at + size])
        at += size
    return chunks


def _undone(name: str, chunks: list[bytes]) -> list[bytes]:
    make = _maker(name)
    try:
        decoder = _Members(make)
        return [decoder.feed(chunk) for chunk in chunks]
    except Exception as error:  # noqa: BLE001 - each library has an error of its own
        raise RecordingError(
            f"a body says that it is encoded as {name!r}, and cannot be decoded so ({type(error).__name__}): what is "
            "recorded has to be looked through for secrets"
        ) from None


class _Members:
    """Decodes a body of one member after another, as gzip and zstd allow."""

    def __init__(self, make: Callable[[bytes], _Decoder]) -> None:
        self._make = make
        self._decoder: _Decoder | None = None

    def feed(self, data: bytes) -> bytes:
        pieces = list[bytes]()
        while data:
            self._decoder = self._decoder or self._make(data)
            pieces.append(self._decoder.decompress(data))
            data = getattr(self._decoder, "unused_data", b"")
            if getattr(self._decoder, "eof", False):
                self._decoder = None
                data = data.lstrip(b"\0")  # gzip allows zeros at the end
        return b"".join(pieces)


def _maker(name: str) -> Callable[[bytes], _Decoder]:
    """Makes a decoder, told the first bytes."""
    if name == "gzip":
        return lambda _: zlib.decompressobj(zlib.MAX_WBITS | 16)
    if name == "deflate":
        return _deflate
    if name == "br":
        module = _first(_BROTLI, name)
        return lambda _: _Brotli(module)
    if name == "zstd":
        module = _first(_ZSTD, name)
        if module.__name__ == "zstandard":
            return lambda _: cast("_Decoder", module.ZstdDecompressor().decompressobj())
        return lambda _: cast("_Decoder", module.ZstdDecompressor())
    raise RecordingError(
        f"a body is encoded as {name!r}, which cannot be looked through for secrets: gzip, deflate, br and zstd can; "
        f"ask the provider for one of them with the header accept-encoding"
    )


def _deflate(data: bytes) -> _Decoder:
    """Of zlib's form, as the standard says, or bare, as some servers send it."""
    is_zlib = data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] * 256 + data[1]) % 31 == 0)  # noqa: PLR2004 - RFC 1950
    return zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


class _Brotli:
    """The two packages of Brotli call the same thing by different names."""

    def __init__(self, module: Any) -> None:
        decompressor = module.Decompressor()
        self._feed = cast("Callable[[bytes], bytes]", getattr(decompressor, "process", None) or decompressor.decompress)

    def decompress(self, data: bytes, /) -> bytes:
        return self._feed(data)


def _first(modules: Sequence[str], encoding: str) -> Any:
    for name in modules:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    packages = " or ".join(name for name in reversed(modules) if name != "compression.zstd")
    raise RecordingError(
        f"a body is encoded as {encoding!r}, which cannot be looked through for secrets without {packages}: "
        f"pip install {modules[-1] if encoding == 'zstd' else modules[0]}"
    )
