"""
A packed copy of a parsed cassette, good for one content of it, told by its hash.

Parsing YAML takes a hundred times as long as hashing it. The copy holds the matching keys, an index, and each
interaction as bytes that are decoded when it is asked for. It may be deleted at any time, and is never trusted: a copy
that is not whole, of another content or of another version is made anew.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any, Final, cast

from pytest_modelroute.cassettes.atomic import remove_left_over, replace_whole
from pytest_modelroute.cassettes.facts import SCHEMA, Facts
from pytest_modelroute.cassettes.files import DIGEST_BYTES, CassetteFile, read_cassette
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.lines import facts_of, reply_head_of, request_head_of, response_of, with_bodies
from pytest_modelroute.cassettes.state import locked, part_of, short_hash
from pytest_modelroute.errors import CassetteError

FOLDER: Final = "cache"
_FORMAT: Final = f"modelroute-2-{SCHEMA}"
_SEAL_BYTES: Final = 32
_SEALED: Final = DIGEST_BYTES + _SEAL_BYTES
"A copy begins with the hash of the cassette and one of what follows here."
_SIZES: Final = struct.Struct("<QQ")
"The number of interactions, and the bytes of their keys."
_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The interactions of a cassette, decoded one by one when they are asked for."""

    keys: list[str]
    "The matching key of each, in the order of the file."
    digest: str
    "Of the bytes of the cassette; empty where there is no file."
    _lines: tuple[int, ...]
    _starts: tuple[int, ...]
    "Where each begins, and where the last one ends."
    _data: bytes

    def __len__(self) -> int:
        """How many there are."""
        return len(self.keys)

    def line(self, number: int) -> int:
        """The line of an interaction in the cassette; the first interaction is 0."""
        return self._lines[number]

    def interaction(self, number: int) -> Interaction:
        """An interaction; the first one is 0."""
        number = range(len(self.keys))[number]
        reply, rest = self._split(number)
        request, _, body = rest.partition(b"\n")
        held = {**reply, **json.loads(request)}
        size = reply["request_size"]
        return with_bodies(held, body[:size], body[size:], checked=True)

    def response(self, number: int) -> tuple[RecordedResponse, Facts | None]:
        """What is replayed of an interaction, at less cost than all of it."""
        reply, rest = self._split(number)
        return response_of(reply, rest[len(rest) - reply["response_size"] :]), facts_of(reply, checked=True)

    def _split(self, number: int) -> tuple[dict[str, Any], bytes]:
        number = range(len(self.keys))[number]
        reply, _, rest = self._data[self._starts[number] : self._starts[number + 1]].partition(b"\n")
        return json.loads(reply), rest


def open_packed(path: Path, key_of: Callable[[RecordedRequest], str], fingerprint: str, *, state: Path) -> Packed:
    """
    Open a cassette, from its packed copy where there is one; else it is read, and the copy written.

    Args:
        path: The cassette; one that does not exist is empty.
        key_of: The matching key of a request.
        fingerprint: Of everything that `key_of` depends on.
        state: The folder `.modelroute`.

    Raises:
        CassetteError: The cassette cannot be read; a copy that cannot be written is no error.

    """
    cassette = short_hash(str(path.resolve()))
    name = f"{cassette}-{short_hash(fingerprint)}.packed"
    try:
        with path.open("rb") as file:
            digest = file_digest(file, _blake).hexdigest()
        packed = _unpack((state / FOLDER / name).read_bytes(), name, digest)
    except OSError:
        packed = None  # no copy; where there is no cassette either, reading it says so
    if packed is not None:
        return packed
    read = read_cassette(path)
    if not read.exists:
        return Packed(keys=[], digest="", _lines=(), _starts=(0,), _data=b"")
    data = _pack(read, key_of, name)
    packed = cast("Packed", _unpack(data, name, read.digest))
    with suppress(OSError, CassetteError):
        _keep(state, cassette, name, data)
    return packed


def _blake() -> Any:
    return blake2b(digest_size=DIGEST_BYTES)


def _seal(name: str, parts: Iterable[bytes | memoryview]) -> bytes:
    digest = blake2b(f"{_FORMAT}/{name}/".encode(), digest_size=_SEAL_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _pack(read: CassetteFile, key_of: Callable[[RecordedRequest], str], name: str) -> bytes:
    keys = json.dumps([key_of(interaction.request) for interaction in read.interactions]).encode("ascii")
    entries: list[bytes] = []
    starts = [0]
    for interaction in read.interactions:
        request, response = interaction.request.body, interaction.response.body
        lengths = {"request_size": len(request), "response_size": len(response)}
        heads = ({**reply_head_of(interaction), **lengths}, request_head_of(interaction))
        lines = [json.dumps(head).encode("ascii") for head in heads]
        entries.append(b"\n".join((*lines, request + response)))
        starts.append(starts[-1] + len(entries[-1]))
    count = len(entries)
    sizes = _SIZES.pack(count, len(keys))
    sealed = [sizes, struct.pack(f"<{count}Q{count + 1}Q", *read.lines, *starts), keys, *entries]
    return b"".join((bytes.fromhex(read.digest), _seal(name, sealed), *sealed))


def _unpack(data: bytes, name: str, digest: str) -> Packed | None:
    """The copy, or None where it is not whole, or of another content."""
    content, seal = data[:DIGEST_BYTES], data[DIGEST_BYTES:_SEALED]
    if content.hex() != digest or seal != _seal(name, (memoryview(data)[_SEALED:],)):
        return None
    count, size = _SIZES.unpack_from(data, _SEALED)
    index = struct.Struct(f"<{count}Q{count + 1}Q")
    numbers = index.unpack_from(data, _SEALED + _SIZES.size)
    keys = _SEALED + _SIZES.size + index.size
    first = keys + size
    return Packed(
        keys=json.loads(data[keys:first]),
        digest=digest,
        _lines=numbers[:count],
        _starts=tuple(first + start for start in numbers[count:]),
        _data=data,
    )


def _keep(state: Path, cassette: str, name: str, data: bytes) -> None:
    """Write a copy, and remove those that are of other contents, for whatever matching."""
    folder = part_of(state, FOLDER)
    with locked(state, f"{FOLDER}/{cassette}", wait=_WAIT_S):
        remove_left_over(folder / name)
        replace_whole(folder / name, data)
        for other in folder.glob(f"{cassette}-*.packed"):
            with other.open("rb") as file:
                if file.read(DIGEST_BYTES) == data[:DIGEST_BYTES]:
                    continue
            other.unlink()
