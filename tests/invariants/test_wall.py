"""`datetime.now()` in the user's modules is virtual while scenes are played, and their own again afterwards."""

from __future__ import annotations

import datetime as dt
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_modelroute.invariants.wall import WallClock
from pytest_modelroute.wire.virtual_time import VirtualTime

NOON = dt.datetime(2026, 6, 15, 12, tzinfo=dt.UTC)
SOURCE = """
import datetime as module
from datetime import date, datetime, timezone

def now():
    return datetime.now(timezone.utc)
"""


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Virtual time, at noon of a day."""
    made = VirtualTime()
    made.start()
    made.set(NOON)
    yield made
    made.stop()


def module(name: str, file: Path | str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that has datetime in three ways."""
    made = types.ModuleType(name)
    made.__file__ = str(file)
    exec(SOURCE, vars(made))  # noqa: S102 - a module of the user's
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module of the user's."""
    return module("users_router", tmp_path / "users_router.py", monkeypatch)


@pytest.fixture
def wall(clock: VirtualTime, users: types.ModuleType) -> Iterator[WallClock]:
    """The wall clock in the modules of the user."""
    made = WallClock(clock)
    made.scan()
    yield made
    made.stop()


@pytest.mark.usefixtures("wall")
def test_now_is_virtual(users: types.ModuleType, clock: VirtualTime) -> None:
    """And moves with virtual time."""
    clock.advance(90)
    assert users.now() == NOON + dt.timedelta(seconds=90)


@pytest.mark.usefixtures("wall")
def test_every_way_of_asking_is_virtual(users: types.ModuleType) -> None:
    """By the class, by the date, by the module."""
    assert users.datetime.utcnow() == NOON.replace(tzinfo=None)
    assert users.datetime.now() == users.datetime.today() == NOON.astimezone().replace(tzinfo=None)
    assert users.date.today() == users.module.date.today() == NOON.astimezone().date()
    assert users.module.datetime.now(dt.UTC) == NOON


@pytest.mark.usefixtures("wall")
def test_the_stand_ins_are_what_they_stand_for(users: types.ModuleType) -> None:
    """Real moments are instances of them, and they make real moments."""
    assert isinstance(NOON, users.datetime)
    assert isinstance(NOON.date(), users.date)
    assert not isinstance("noon", users.datetime)
    made = users.datetime(2026, 6, 15, 12, tzinfo=dt.UTC)
    assert made == users.datetime.fromisoformat("2026-06-15T12:00:00+00:00") == NOON


@pytest.mark.usefixtures("wall")
def test_other_modules_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wall: WallClock) -> None:
    """Those of installed packages, and those without a file."""
    installed = module("installed", tmp_path / "site-packages" / "installed.py", monkeypatch)
    wall.scan()
    real = sys.modules["datetime"]
    assert (installed.datetime, installed.date, installed.module) == (real.datetime, real.date, real)


@pytest.mark.usefixtures("wall")
def test_what_is_imported_meanwhile_is_taken_in_by_the_next_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wall: WallClock
) -> None:
    """A router may import at first use."""
    late = module("late_router", tmp_path / "late_router.py", monkeypatch)
    wall.scan()
    assert late.now() == NOON


def test_all_is_restored(users: types.ModuleType, wall: WallClock) -> None:
    """Once it stops."""
    wall.stop()
    assert (users.datetime, users.date, users.module) == (dt.datetime, dt.date, dt)
