"""
The frames in which AWS streams: application/vnd.amazon.eventstream.

A frame: its length, the length of its headers, a checksum of those 8 bytes, headers, payload, a checksum of it all;
numbers are big-endian, checksums CRC-32. A header: length of its name, name, type of its value, length of it, value.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pytest_modelroute.errors import MalformedExchange

PRELUDE: Final = struct.Struct(">III")
CHECKSUM: Final = struct.Struct(">I")
_LENGTHS: Final = struct.Struct(">II")
_LENGTH: Final = struct.Struct(">H")
_TEXT: Final = 7
"The type of a header whose value is text; all that say what a frame is are."


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message of a stream."""

    headers: Mapping[str, str]
    "Those of text alone, such as :event-type."
    payload: bytes


def sealed(headers: bytes, payload: bytes) -> bytes:
    """A frame of these headers, written already, and this payload: with the lengths and checksums that fit."""
    lengths = _LENGTHS.pack(PRELUDE.size + len(headers) + len(payload) + CHECKSUM.size, len(headers))
    whole = lengths + CHECKSUM.pack(zlib.crc32(lengths)) + headers + payload
    return whole + CHECKSUM.pack(zlib.crc32(whole))


def write_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """A frame."""
    written = b"".join(
        bytes([len(name)]) + name.encode("ascii") + bytes([_TEXT]) + _LENGTH.pack(len(value)) + value
        for name, value in ((name, value.encode()) for name, value in headers.items())
    )
    return sealed(written, payload)


class FrameDecoder:
    """Finds the frames in bytes that come cut anywhere."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """
        Take more bytes, and give each frame that is whole now.

        Raises:
            MalformedExchange: A length or a checksum does not fit.

        """
        self._rest += data
        while len(self._rest) >= PRELUDE.size:
            total, headers, _ = PRELUDE.unpack_from(self._rest)
            if total < PRELUDE.size + headers + CHECKSUM.size:
                raise MalformedExchange(f"a frame of an AWS stream is {total} bytes long, with {headers} of headers")
            if len(self._rest) < total:
                return
            frame, self._rest = self._rest[:total], self._rest[total:]
            whole = frame[: -CHECKSUM.size]
            if CHECKSUM.unpack(frame[-CHECKSUM.size :])[0] != zlib.crc32(whole):
                raise MalformedExchange("a frame of an AWS stream does not fit its checksum")
            start = PRELUDE.size + headers
            yield Frame(headers=dict(_read_headers(whole[PRELUDE.size : start])), payload=whole[start:])


def _read_headers(data: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name, kind = data[at + 1 : name_end], data[name_end : name_end + 1]
        if kind != bytes([_TEXT]):  # a time stamp, or the like: says nothing of what the frame is
            return
        (size,) = _LENGTH.unpack_from(data, name_end + 1)
        at = name_end + 1 + _LENGTH.size + size
        yield name.decode("ascii", "replace"), data[at - size : at].decode("utf-8", "replace")
