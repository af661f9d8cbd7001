"""`modelroute audit package.module:Class`: every law of a router, on one card."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_modelroute.cli import main

MODULE = """
import httpx
from pytest_modelroute.invariants import RoutingInvariants

print("imported")

class TestSupport(RoutingInvariants):
    tiers = ("gpt-5-nano",)

    def make_router(self, providers):
        return providers.url("openai")

    def ask(self, router, request):
        body = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": request.prompt}]}
        reply = httpx.post(router + "/chat/completions", json=body, timeout=5)
        return self.read(request, reply.json()["choices"][0]["message"]["content"])

    def read(self, request, text):
        return text

class TestCrashing(TestSupport):
    def read(self, request, text):
        return request.prompt[0] + text

class TestKnown(TestCrashing):
    known_violations = {"totality": "issue 7"}

class TestBroken(TestSupport):
    def make_router(self, providers):
        raise KeyError("URL")
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a module of classes, which is the current one."""
    (tmp_path / "audited.py").write_text(MODULE, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "audited", raising=False)


class Ran:
    """What came of a command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        """Run it."""
        self.code = main(["audit", *arguments])
        self.out, self.err = capsys.readouterr()


QUICK = ("--profile", "quick", "--law", "totality")


def test_a_card_that_passes_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """And says on how many examples."""
    ran = Ran(capsys, "audited:TestSupport", *QUICK)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "PASS audited:TestSupport: 1 of 1 laws held")
    assert "held on 8 examples" in ran.out


def test_a_broken_law_ends_with_1_and_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    """As pytest would show it."""
    ran = Ran(capsys, "audited:TestCrashing", *QUICK)
    assert (ran.code, ran.out.splitlines()[0]) == (
        1,
        "FAIL audited:TestCrashing: 0 of 1 laws held; wrong: totality",
    )
    assert "TestCrashing breaks totality: " in ran.out


def test_a_known_violation_is_as_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 0."""
    ran = Ran(capsys, "audited:TestKnown", *QUICK)
    assert ran.code == 0
    assert "violated, as is known: issue 7" in ran.out


def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the module prints when it is imported."""
    told = json.loads(Ran(capsys, "audited:TestSupport", *QUICK, "--format", "json").out)
    assert (told["ok"], told["laws"][0]["law"], told["laws"][0]["examples"]) == (True, "totality", 8)


def test_markdown_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """For a pull request."""
    ran = Ran(capsys, "audited:TestSupport", *QUICK, "--format", "markdown")
    assert "| totality | always | held on 8 examples |  |" in ran.out


def test_the_laws_are_listed_without_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    """With what each needs."""
    ran = Ran(capsys, "--list")
    assert ran.code == 0
    assert ran.out.startswith("Selection\n  totality (always)\n    Any input is answered by a model")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "modelroute audit: package.module:Class was expected, or --list"),
        (("audited",), "'audited': package.module:Class was expected, such as tests.test_router:TestSupportRouter"),
        (("nowhere:TestA",), "'nowhere:TestA': nowhere cannot be imported (ModuleNotFoundError: "),
        (
            ("audited:TestSuport",),
            "'audited:TestSuport': audited has no class 'TestSuport' of RoutingInvariants; it has: TestSupport, ",
        ),
        (("audited:TestSupport", "--law", "totalty"), "there is no law 'totalty'; did you mean 'totality'?"),
        (
            ("audited:TestBroken", "--law", "totality"),
            "audited:TestBroken: TestBroken.make_router raised KeyError: 'URL'",
        ),
    ],
)
def test_what_cannot_be_audited_is_one_clear_error(
    arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which ends with 2."""
    ran = Ran(capsys, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err
