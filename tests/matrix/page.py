"""The fault matrix as a page: `python -m tests.matrix.page` prints its tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.matrix.cells import FAULTS, outcome
from tests.matrix.clients import MAKERS, Client

PAGE = Path(__file__).parents[2] / "docs" / "client-faults.md"


def row(client: Client, fault: str) -> str:
    """One row of a client's table: what it makes of a fault, whole and streaming."""
    return f"| `{fault}` | {_cell(client, fault, '')} |" + (
        f" {_cell(client, fault, ' stream')} |" if _streams(client) else ""
    )


def _streams(client: Client) -> bool:
    return any(mode.endswith("stream") for mode in client.modes)


def _cell(client: Client, fault: str, suffix: str) -> str:
    """Sync and async in one where they agree."""
    modes = [mode for mode in client.modes if mode in (f"sync{suffix}", f"async{suffix}")]
    outcomes = {mode.partition(" ")[0]: outcome(client, mode, fault) for mode in modes}
    if len(set(outcomes.values())) == 1:
        return next(iter(outcomes.values()))
    return "; ".join(f"{mode}: {text}" for mode, text in outcomes.items())


def table(client: Client) -> Iterator[str]:
    """The table of one client."""
    streams = _streams(client)
    yield f"### {client.name}"
    yield ""
    only = "" if len({mode.partition(" ")[0] for mode in client.modes}) > 1 else f", {next(iter(client.modes))} alone"
    yield f"Release {client.version}, over {client.stack}{only}, with its default retries and timeouts{client.but}."
    yield ""
    yield "| fault | whole reply |" + (" stream |" if streams else "")
    yield "| --- | --- |" + (" --- |" if streams else "")
    yield from (row(client, fault) for fault in FAULTS)
    yield ""


@cache
def rows_on_page() -> dict[str, list[str]]:
    """The rows that the page has, by client."""
    rows: dict[str, list[str]] = {}
    client = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("### "):
            client = line.removeprefix("### ")
        elif line.startswith("| `"):
            rows.setdefault(client, []).append(line)
    return rows


if __name__ == "__main__":
    for make in MAKERS:
        print("\n".join(table(make())))  # noqa: T201 - this is the output
