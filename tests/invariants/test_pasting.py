"""What is printed of a scene can be pasted, and makes the same scene again."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pytest_modelroute.invariants as names
from pytest_modelroute import faults as stock
from pytest_modelroute.invariants.pasting import code_of, names_in
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Fails, Good, Scene, Script

faults: Any = stock
TEXTS = st.text(max_size=12) | st.sampled_from(["word " * 300, "a'b\"c\\\n", "é" * 500, "x" * 401])
SECONDS = st.integers(0, 60) | st.sampled_from([0.1, 2.5, 1e-9])
WITH_ARGUMENTS = st.one_of(
    st.builds(faults.rate_limit, retry_after=SECONDS),
    st.builds(faults.rate_limit, retry_after_ms=SECONDS),
    st.builds(faults.rate_limit, retry_after_date=SECONDS),
    st.builds(faults.overloaded, retry_after=SECONDS),
    st.builds(faults.another_model, st.sampled_from(["gpt-6", "o'model"])),
    st.builds(faults.slow_first_token, SECONDS),
    st.builds(faults.stream_cut, after=st.integers(0, 3)),
    st.builds(faults.stream_error, after=st.integers(0, 3), kind=st.sampled_from(["overloaded", "server_error"])),
    st.builds(faults.malformed_body, st.binary(max_size=8)),
    st.builds(faults.missing_usage, TEXTS.filter(str.strip)),
)
PLAIN = st.sampled_from(
    [getattr(faults, name)() for name in faults.__all__ if name not in ("Fault", "another_model", "slow_first_token")]
)
BEHAVIOURS = st.one_of(
    st.builds(Fails, WITH_ARGUMENTS | PLAIN, SECONDS),
    st.builds(Good, text=st.none() | TEXTS, latency=SECONDS, spends=st.none() | st.just(Decimal("0.79"))),
)
ROWS = st.lists(BEHAVIOURS, max_size=2).map(tuple)
SCRIPTS = st.builds(
    Script,
    candidates=st.lists(ROWS, max_size=2).map(tuple),
    models=st.dictionaries(st.sampled_from(["gpt-5", "m"]), ROWS, max_size=1),
    label=st.none() | st.just("LOW") | st.builds(Fails, PLAIN),
)
REQUESTS = st.builds(
    RoutingRequest,
    prompt=TEXTS,
    system=st.none() | TEXTS,
    history=st.lists(st.tuples(st.just("user"), TEXTS), max_size=2).map(tuple),
    as_parts=st.booleans(),
    has_messages=st.booleans(),
    params=st.dictionaries(st.just("temperature"), SECONDS, max_size=1),
    category=st.none() | TEXTS,
    stream=st.booleans(),
    options=st.dictionaries(st.just("retries"), st.integers(0, 3), max_size=1),
)
ASKS = st.builds(Ask, request=REQUESTS, at=SECONDS, cancel_after=st.none() | SECONDS, label=st.none() | TEXTS)
MOMENTS = st.none() | st.sampled_from([datetime(2026, 3, 29, 1, 59, tzinfo=UTC)])
ACTS = st.builds(
    Act, asks=st.lists(ASKS, min_size=1, max_size=2).map(tuple), script=SCRIPTS, pause=SECONDS, wall=MOMENTS
)
SCENES = st.builds(Scene, acts=st.lists(ACTS, max_size=2).map(tuple), name=TEXTS)


def pasted(code: str) -> Any:
    """What the code makes, with what its imports bring."""
    known = {name: getattr(names, name) for name in names_in(code)}
    return eval(code, {**known, "faults": faults, "Decimal": Decimal, "datetime": dt, "ZoneInfo": ZoneInfo})  # noqa: S307 - our own


@given(SCENES)
def test_a_scene_is_made_again_by_its_code(scene: Scene) -> None:
    """Whatever is in it, faults included."""
    assert pasted(code_of(scene)) == scene


@given(REQUESTS)
def test_a_request_is_made_again_by_its_code(request: RoutingRequest) -> None:
    """It prints itself."""
    assert pasted(repr(request)) == request


def test_defaults_are_left_out() -> None:
    """So that what matters is seen."""
    scene = Scene(acts=(Act(asks=(Ask(request=RoutingRequest(prompt="hi")),)),))
    assert code_of(scene) == "Scene(acts=(Act(asks=(Ask(request=RoutingRequest(prompt='hi')),)),))"


def test_a_long_repetitive_prompt_is_a_sum() -> None:
    """An example fits on a screen."""
    assert repr(RoutingRequest(prompt="word " * 600)) == "RoutingRequest(prompt=('word ' * 600)[:3000])"


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (Fails(faults.rate_limit(retry_after=3)), "Fails(faults.rate_limit(retry_after=3))"),
        (Fails(faults.server_error(), latency=2), "Fails(faults.server_error(), latency=2)"),
        (Good(), "Good()"),
        (Good(spends=Decimal("0.79")), "Good(spends=Decimal('0.79'))"),
    ],
)
def test_behaviours_read_as_they_are_typed(behaviour: Any, code: str) -> None:
    """By the functions of `faults`."""
    assert code_of(behaviour) == code


def test_the_names_for_the_import_are_those_used() -> None:
    """And no others."""
    scene = Scene(acts=(Act(asks=(Ask(),), script=Script(candidates=((Fails(faults.server_error()),),))),))
    assert names_in(code_of(replace(scene, name="x"))) == ["Act", "Ask", "Fails", "Scene", "Script"]
