"""
The options and markers.

Imports nothing, since every pytest run passes here. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    import pytest

ALL_TIERS = "--modelroute-record-all-tiers"


def add_options(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("modelroute", "regression tests for model routing")
    group.addoption(
        "--modelroute-config",
        metavar="FILE",
        help="settings file; else the nearest modelroute.toml or pyproject.toml with [tool.modelroute] above each test",
    )
    group.addoption(
        "--modelroute-case", metavar="ID", help="run only this case in every evaluate_step, and show its calls"
    )
    group.addoption(
        "--modelroute-record",
        choices=("none", "new", "all"),
        default="none",
        help="none (default): replay, and fail a test on a call that is not recorded; new: record what is missing; "
        "all: record everything anew. Live calls cost money",
    )
    group.addoption(
        "--modelroute-max-usd",
        metavar="USD",
        type=_usd,
        help="stop recording before the live calls of this run cost more",
    )
    group.addoption(
        "--modelroute-replay-speed",
        metavar="FACTOR",
        type=_factor,
        help="replay in real time, so many times as fast as recorded (1: as fast); else in virtual time",
    )
    group.addoption(
        ALL_TIERS,
        action="store_true",
        help="while recording, run every case of a step on every model of the settings, and keep what comes of it "
        "beside the cassette",
    )
    group.addoption(
        "--modelroute-profile",
        choices=("quick", "ci", "thorough"),
        default="ci",
        help="how many examples each law of a RoutingInvariants class is tried on: quick 8, ci (default) 40, thorough "
        "400; the same ones in every run",
    )
    group.addoption(
        "--modelroute-seed",
        metavar="N",
        type=int,
        default=0,
        help="try the laws on other examples (default 0)",
    )
    group.addoption("--modelroute-live", action="store_true", help="run the tests marked live, which call providers")


def check_options(config: pytest.Config) -> None:
    """
    Refuse options that do not fit together.

    Raises:
        pytest.UsageError: Says which.

    """
    if not config.getoption("modelroute_record_all_tiers"):
        return
    import pytest

    if config.getoption("modelroute_record") == "none":
        raise pytest.UsageError(
            f"{ALL_TIERS} records: add --modelroute-record=new (what is missing) or =all (everything anew)"
        )
    if config.getoption("modelroute_case") is not None:
        raise pytest.UsageError(f"{ALL_TIERS} records every case: leave out --modelroute-case")


def add_markers(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        "step_threshold(step, *, min_accuracy=, min_pass_rate=, min_mean_score=, min_precision=, min_recall=, min_f1=, "
        "positive=, max_latency_ms=, max_mean_latency_ms=, max_cost_usd=, max_total_cost_usd=, max_misroute_rate=, "
        "max_underroute_rate=, max_overroute_rate=, max_escalation_rate=, confidence=): the limits that evaluate_step "
        "judges a step by; limits left out come from [tool.modelroute.thresholds.<step>].",
    )
    config.addinivalue_line(
        "markers",
        "cassette(name=None): the recording of the fixture recorded_providers, in the folder `cassettes` beside the "
        "settings file; without a name the test has one of its own.",
    )
    config.addinivalue_line(
        "markers",
        "live: of a test with fixtures of modelroute: it calls providers, and runs with --modelroute-live alone.",
    )


def _usd(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount <= 0:
        raise ArgumentTypeError(f"{text!r} is no amount of USD above 0, such as 0.50")
    return amount


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no speed above 0, such as 1 for that of the recording")
    return factor
