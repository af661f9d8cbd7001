"""Every client, mode and fault: what the page in docs/ says is what the clients do."""

from __future__ import annotations

import pytest

from tests.matrix.cells import FAULTS
from tests.matrix.clients import MAKERS, Client
from tests.matrix.page import row, rows_on_page

CLIENTS = [make() for make in MAKERS]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_shows_a_fault_as_the_page_says(client: Client, fault: str) -> None:
    """Sync, async, whole and streaming; `python docs/generate.py` renews the page."""
    said = {line.split(" | ")[0].removeprefix("| "): line for line in rows_on_page()[client.name]}
    assert row(client, fault) == said[f"`{fault}`"]


def test_the_page_has_no_client_and_no_fault_too_many() -> None:
    """A client or fault that is gone leaves the page too."""
    assert {name: len(rows) for name, rows in rows_on_page().items()} == {
        client.name: len(FAULTS) for client in CLIENTS
    }
