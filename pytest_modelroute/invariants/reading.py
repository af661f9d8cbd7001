"""Reads the streams that a router gives back, to their end or to where the caller closes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_modelroute.invariants.answers import text_of
from pytest_modelroute.invariants.observing import Notes


def read(pieces: Iterator[Any], notes: Notes) -> None:
    """Take down the chunks of a stream."""
    for piece in pieces:
        notes.chunks.append(text_of(piece))
        if notes.ask.close_after is not None and len(notes.chunks) >= notes.ask.close_after:
            notes.outcome = "cancelled"
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            return


async def aread(pieces: Any, notes: Notes) -> None:
    """Take down the chunks of an asynchronous stream."""
    iterator = aiter(pieces)
    async for piece in iterator:
        notes.chunks.append(text_of(piece))
        if notes.ask.close_after is not None and len(notes.chunks) >= notes.ask.close_after:
            notes.outcome = "cancelled"
            close = getattr(iterator, "aclose", None) or getattr(pieces, "aclose", None)
            if close is not None:
                await close()
            return
