"""The frames in which AWS streams: where their payloads are, and frames with other payloads."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_modelroute.cassettes.views import Found, replaced
from pytest_modelroute.providers.aws_frames import CHECKSUM, PRELUDE, sealed


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int
    payload: int
    "Where the payload begins; it ends 4 bytes before the frame."
    end: int


def payloads(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each payload; the text is the body read as Latin-1, a character a byte."""
    return ((frame.payload, frame.end - CHECKSUM.size) for frame in _frames(text.encode("latin-1", "replace")))


def reframed(text: str, found: Sequence[Found]) -> str:
    """The frames with places in their payloads replaced, and with lengths and checksums that fit."""
    body = text.encode("latin-1", "replace")
    pieces, end = list[bytes](), 0
    for frame in _frames(body):
        first, last = frame.payload, frame.end - CHECKSUM.size
        inside = [
            Found(each.start - first, each.end - first, each.kind, each.put)
            for each in found
            if first <= each.start and each.end <= last
        ]
        payload = replaced(text[first:last], inside).encode("latin-1", "replace")
        pieces.append(sealed(body[frame.start + PRELUDE.size : first], payload))
        end = frame.end
    return b"".join((*pieces, body[end:])).decode("latin-1")


_SHELL: Final = re.compile(r'(\s*\{[^{}]*"bytes"\s*:\s*")([A-Za-z0-9+/]+={0,2})("[^{}]*\}\s*)')
Shells = list[tuple[str, str] | None]
"What stood around the payloads that were opened."


def opened_payloads(text: str) -> tuple[list[Found], Shells]:
    """InvokeModelWithResponseStream sends a model's own event in base64, as a member of the payload: take it out."""
    found, shells = list[Found](), Shells()
    for start, end in payloads(text):
        shell = _SHELL.fullmatch(text, start, end)
        shells.append(None if shell is None else (shell[1], shell[3]))
        if shell is not None:
            inside = base64.b64decode(shell[2] + "=" * (-len(shell[2]) % 4)).decode("latin-1")
            found.append(Found(start, end, "", inside))
    return found, shells


def closed_payloads(text: str, shells: Shells) -> list[Found]:
    """Put them back."""
    found = list[Found]()
    for (start, end), shell in zip(payloads(text), shells, strict=True):
        if shell is not None:
            inside = base64.b64encode(text[start:end].encode("latin-1", "replace")).decode()
            found.append(Found(start, end, "", f"{shell[0]}{inside}{shell[1]}"))
    return found


def _frames(body: bytes) -> Iterator[_Frame]:
    """The frames that are whole; a stream may have been cut in the midst of one."""
    at = 0
    while at + PRELUDE.size + CHECKSUM.size <= len(body):
        total, headers, _ = PRELUDE.unpack_from(body, at)
        payload = at + PRELUDE.size + headers
        if total < PRELUDE.size + headers + CHECKSUM.size or at + total > len(body):
            return
        yield _Frame(at, payload, at + total)
        at += total
