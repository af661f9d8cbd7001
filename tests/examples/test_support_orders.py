"""The order book of the support agent: small, and free of contradictions."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent.parent / "examples" / "support_agent" / "cases" / "orders.json"
ROWS: list[dict[str, str | None]] = json.loads(FILE.read_text("utf-8"))
ORDERS = {str(order["id"]): order for order in ROWS}


def test_the_order_book_is_small_and_has_no_id_twice() -> None:
    """40 to 60 orders, each with the same fields."""
    assert 40 <= len(ROWS) == len(ORDERS) <= 60
    assert len({tuple(order) for order in ROWS}) == 1


def test_the_dates_of_an_order_follow_each_other() -> None:
    """Ordered, shipped, delivered, refunded."""
    fields = ("ordered", "shipped", "delivered", "refund_date")
    days = {id_: [order[field] or "" for field in fields if order[field]] for id_, order in ORDERS.items()}
    assert [id_ for id_, known in days.items() if known != sorted(known)] == []


@pytest.mark.parametrize(
    ("field", "statuses"),
    [
        ("shipped", {"shipped", "delivered", "returned", "lost"}),
        ("delivered", {"delivered", "returned"}),
        ("expected", {"processing", "shipped", "delivered", "returned", "lost"}),
    ],
)
def test_an_order_has_the_dates_of_its_status(field: str, statuses: set[str]) -> None:
    """What was delivered was shipped; what was cancelled is not expected."""
    assert [id_ for id_, order in ORDERS.items() if (order[field] is not None) != (order["status"] in statuses)] == []


@pytest.mark.parametrize(
    ("field", "refunds"), [("refund_amount", {"requested", "approved", "paid"}), ("refund_date", {"paid"})]
)
def test_a_refund_has_an_amount_and_when_it_is_paid_a_date(field: str, refunds: set[str]) -> None:
    """No refund, no amount."""
    assert [id_ for id_, order in ORDERS.items() if (order[field] is not None) != (order["refund"] in refunds)] == []


def test_a_refund_is_never_higher_than_the_price() -> None:
    """It may be lower, which is disputed in an answer."""
    pairs = {
        id_: (Decimal(order["refund_amount"] or 0), Decimal(order["amount"] or 0)) for id_, order in ORDERS.items()
    }
    assert [id_ for id_, (refund, price) in pairs.items() if refund > price] == []
