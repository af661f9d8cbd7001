"""Content encodings: a body is read whatever it is compressed with, or it is said why not."""

from __future__ import annotations

import gzip
import sys
import types
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.errors import RecordingError
from tests.cassettes.planted import compressors

COMPRESSORS = compressors()
BODY = b'{"a": "' + b"round and round " * 40 + b'"}'


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(COMPRESSORS)),
    body=st.binary(min_size=1, max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_a_body_is_decoded_however_the_network_cut_it(name: str, body: bytes, cuts: list[int]) -> None:
    """The sizes are those of the same chunks, decoded: as many, and together the body."""
    packed = COMPRESSORS[name](body)
    bounds = sorted(min(cut, len(packed)) for cut in cuts)
    sizes = [end - start for start, end in zip([0, *bounds], [*bounds, len(packed)], strict=True)]
    plain, plain_sizes = decoded(packed, name, sizes)
    assert plain == body
    assert plain_sizes is not None
    assert (len(plain_sizes), sum(plain_sizes)) == (len(sizes), len(body))
    assert decoded(packed, name) == (body, None)


def test_encodings_are_undone_from_the_last_to_the_first() -> None:
    """`deflate, gzip` was compressed by deflate first; identity is none."""
    assert decoded(gzip.compress(zlib.compress(BODY)), "Deflate, identity, X-GZIP")[0] == BODY


def test_a_body_without_encoding_is_as_it_was() -> None:
    """Sizes included."""
    assert decoded(b"abc", "", [1, 2]) == (b"abc", [1, 2])
    assert decoded(b"", "gzip", [0]) == (b"", [0])
    assert decoded(b"", "br") == (b"", None)


def test_gzip_may_have_several_members_and_end_in_zeros() -> None:
    """As the standard says, and as some servers flush."""
    assert decoded(gzip.compress(b"a") + gzip.compress(b"b") + b"\0\0", "gzip", None)[0] == b"ab"


def test_what_came_of_a_body_that_was_cut_is_decoded() -> None:
    """A client may close a stream early."""
    packed = zlib.compress(BODY, 0)
    assert BODY.startswith(decoded(packed[:300], "deflate")[0])
    assert len(decoded(packed[:300], "deflate")[0]) > 200


@pytest.mark.parametrize("encoding", ["compress", "aws-chunked", "gzip, rot13"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    """What cannot be looked through is not recorded."""
    with pytest.raises(RecordingError) as caught:
        decoded(gzip.compress(BODY), encoding)
    assert str(caught.value) == (
        f"a body is encoded as {encoding.rpartition(' ')[2]!r}, which cannot be looked through for secrets: gzip, "
        "deflate, br and zstd can; ask the provider for one of them with the header accept-encoding"
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_is_not_encoded_as_it_says_is_refused(encoding: str) -> None:
    """The message names the encoding, and shows nothing of the body."""
    with pytest.raises(RecordingError) as caught:
        decoded(b"plainly text", encoding)
    assert str(caught.value) == (
        f"a body says that it is encoded as {encoding!r}, and cannot be decoded so (error): what is recorded has to be "
        "looked through for secrets"
    )


def test_chunks_that_are_not_those_of_the_body_are_refused() -> None:
    """Sizes that do not add up would put the timeline of a stream out of step."""
    with pytest.raises(RecordingError, match="the chunks of a body have 2 bytes, and the body has 3"):
        decoded(b"abc", "", [2])


PACKAGES = ("brotli", "brotlicffi", "zstandard", "backports.zstd", "compression.zstd")


@pytest.mark.parametrize(
    ("encoding", "packages", "install"),
    [("br", "brotlicffi or brotli", "brotli"), ("zstd", "zstandard or backports.zstd", "zstandard")],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, encoding: str, packages: str, install: str
) -> None:
    """And how to get it."""
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RecordingError) as caught:
        decoded(BODY, encoding)
    assert str(caught.value) == (
        f"a body is encoded as {encoding!r}, which cannot be looked through for secrets without {packages}: "
        f"pip install {install}"
    )


class Reverse:
    """Stands for the decoders of packages that differ in the names of their methods."""

    def decompress(self, data: bytes) -> bytes:
        """Backwards."""
        return data[::-1]


class Process:
    """The decoder of brotli."""

    def process(self, data: bytes) -> bytes:
        """Backwards."""
        return data[::-1]


class Factory:
    """The decoder of zstandard is made by another object."""

    def decompressobj(self) -> Reverse:
        """One for a frame."""
        return Reverse()


@pytest.mark.parametrize(
    ("encoding", "package", "name", "made"),
    [
        ("br", "brotli", "Decompressor", Process),
        ("br", "brotlicffi", "Decompressor", Reverse),
        ("zstd", "zstandard", "ZstdDecompressor", Factory),
        ("zstd", "backports.zstd", "ZstdDecompressor", Reverse),
        ("zstd", "compression.zstd", "ZstdDecompressor", Reverse),
    ],
)
def test_each_package_is_called_by_its_own_names(
    monkeypatch: pytest.MonkeyPatch, encoding: str, package: str, name: str, made: type
) -> None:
    """With only this one installed; the real ones are used above, where they are."""
    for other in PACKAGES:
        monkeypatch.setitem(sys.modules, other, None)
    module = types.ModuleType(package)
    setattr(module, name, made)
    monkeypatch.setitem(sys.modules, package.split(".", maxsplit=1)[0], module)
    monkeypatch.setitem(sys.modules, package, module)
    assert decoded(b"abc", encoding)[0] == b"cba"
