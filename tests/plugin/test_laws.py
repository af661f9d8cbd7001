"""Classes of RoutingInvariants in a run of pytest: what is collected, what fails how, and what the summary says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

Run = Callable[..., pytest.RunResult]

ROUTER = """
import httpx

class Router:
    calls = 0

    def __init__(self, url):
        self.url = url

    def model(self, prompt):
        return "gpt-5-nano" if len(prompt) < 40 else "gpt-5"

    def answer(self, prompt):
        body = {"model": self.model(prompt), "messages": [{"role": "user", "content": prompt}]}
        reply = httpx.post(self.url + "/chat/completions", json=body, timeout=5)
        return reply.json()["choices"][0]["message"]["content"]

    async def aanswer(self, prompt):
        body = {"model": self.model(prompt), "messages": [{"role": "user", "content": prompt}]}
        async with httpx.AsyncClient() as client:
            reply = await client.post(self.url + "/chat/completions", json=body, timeout=5)
        return reply.json()["choices"][0]["message"]["content"]

class Crashing(Router):
    def model(self, prompt):
        if not prompt.strip():
            raise IndexError("list index out of range")
        return "gpt-5-nano"
"""
CLASS = """
from pytest_modelroute.invariants import RoutingInvariants

class TestSupport(RoutingInvariants):
    tiers = ("gpt-5-nano", "gpt-5")

    def make_router(self, providers):
        from app_router import Router
        return Router(providers.url("openai"))

    def ask(self, router, request):
        return router.answer(request.prompt)
"""
CRASHING = """
class TestCrashing(TestSupport):
    def make_router(self, providers):
        from app_router import Crashing
        return Crashing(providers.url("openai"))
"""
TOTALITY = ("--modelroute-profile=quick", "-k", "totality")


@pytest.fixture(autouse=True, scope="session")
def loaded_before() -> None:
    """Runs in process forget what they have loaded, and Hypothesis takes a second to load."""
    for name in ("hypothesis.strategies", "httpx", "pytest_modelroute.lawrun", "pytest_modelroute.report.laws"):
        import_module(name)
    import_module("pytest_modelroute.invariants.law").all_laws()
    for module in ("strategies", "texts", "search"):
        import_module(f"pytest_modelroute.invariants.{module}")


@pytest.fixture
def tests(pytester: pytest.Pytester) -> Callable[[str], None]:
    """Writes the module of tests, beside that of a router."""
    pytester.makepyfile(app_router=ROUTER)
    pytester.syspathinsert()

    def write(source: str) -> None:
        pytester.makepyfile(test_router=source)

    return write


def collected(ran: pytest.RunResult) -> list[str]:
    """The ids of what was collected."""
    return [line.partition("::")[2] for line in ran.stdout.lines if "::" in line]


Write = Callable[[str], None]


def test_each_law_is_a_test_of_the_class(tests: Write, run: Run) -> None:
    """Under its id."""
    tests(CLASS)
    found = collected(run("--collect-only", "-q"))
    assert {"TestSupport::test_totality", "TestSupport::test_determinism"} <= {*found}


def test_a_derived_class_has_the_laws_of_its_own_promises(tests: Write, run: Run) -> None:
    """What the base does not promise it may, and what the base promises it may withdraw."""
    tests(
        CLASS
        + """
class TestBalanced(TestSupport):
    load_balanced = True

class TestPlainAgain(TestBalanced):
    load_balanced = None
"""
    )
    found = collected(run("--collect-only", "-q"))
    assert [name for name in found if name.endswith("test_determinism")] == [
        "TestSupport::test_determinism",
        "TestPlainAgain::test_determinism",
    ]


def test_a_class_without_test_in_its_name_is_a_base_alone(tests: Write, run: Run) -> None:
    """So is what is imported from us."""
    tests(CLASS.replace("TestSupport", "Support") + "class TestReal(Support):\n    pass\n")
    found = collected(run("--collect-only", "-q"))
    assert {name.partition("::")[0] for name in found} == {"TestReal"}


def test_a_test_of_the_users_own_stays(tests: Write, run: Run) -> None:
    """Also one that has the name of a law."""
    tests(CLASS + "    def test_totality(self):\n        pass\n\n    def test_mine(self):\n        pass\n")
    run("-k", "totality or mine").assert_outcomes(passed=2)


def test_a_law_that_holds_passes_and_is_counted(tests: Write, run: Run) -> None:
    """The summary says on how many examples, and what was not checked."""
    tests(CLASS)
    ran = run(*TOTALITY)
    ran.assert_outcomes(passed=1, deselected=len(collected(run("--collect-only", "-q"))) - 1)
    ran.stdout.fnmatch_lines(["TestSupport: 1 law held on 8 examples or more each"])


def test_two_classes_are_told_apart_in_one_session(tests: Write, run: Run) -> None:
    """One breaks what the other one holds."""
    tests(CLASS + CRASHING)
    ran = run(*TOTALITY)
    assert ran.parseoutcomes()["failed"] == 1
    ran.stdout.fnmatch_lines(
        [
            "TestSupport: 1 law held on 8 examples or more each",
            "TestCrashing: 0 laws held; 1 broken (totality)",
        ]
    )


def test_a_broken_law_is_a_failure_without_our_traceback(tests: Write, run: Run) -> None:
    """It begins with the law, and says how to run it again."""
    tests(CLASS + CRASHING)
    ran = run(*TOTALITY)
    ran.stdout.fnmatch_lines(
        [
            "TestCrashing breaks totality: *",
            "*expected: an answer, since every provider was healthy",
            "*seen: *ask raised IndexError: list index out of range",
            "*; again: pytest test_router.py::TestCrashing::test_totality --modelroute-seed 0",
        ]
    )
    assert "lawrun.py" not in ran.stdout.str()


def failure(ran: pytest.RunResult) -> str:
    """The failure's text."""
    found = re.search(r"^\w+ breaks totality: .*?--modelroute-seed \d+$", ran.stdout.str(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[0]


def test_two_runs_find_the_same_example(tests: Write, run: Run) -> None:
    """The report is the same to the letter."""
    tests(CLASS + CRASHING)
    assert failure(run(*TOTALITY)) == failure(run(*TOTALITY))


DECIDED = """
import json, pathlib
import pytest

@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item):
    import app_router
    asked = app_router.Router.model
    def model(self, prompt):
        with pathlib.Path("prompts.txt").open("a") as file:
            file.write(json.dumps(prompt) + chr(10))
        return asked(self, prompt)
    app_router.Router.model = model
"""


def test_another_seed_tries_other_examples(tests: Write, run: Run, pytester: pytest.Pytester) -> None:
    """And the same seed the same ones."""
    tests(CLASS)
    pytester.makeconftest(DECIDED)
    file = pytester.path / "prompts.txt"
    others = collected(run("--collect-only", "-q"))[1:]

    def prompts(seed: int) -> list[str]:
        run(*TOTALITY, f"--modelroute-seed={seed}").assert_outcomes(passed=1, deselected=len(others))
        asked = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        file.unlink()
        return asked

    first, again, other = prompts(1), prompts(1), prompts(2)
    assert first == again
    assert first != other


def test_a_profile_that_is_none_is_a_usage_error(tests: Write, run: Run) -> None:
    """It says which there are."""
    tests(CLASS)
    ran = run("--modelroute-profile=nightly")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*invalid choice: 'nightly' (choose from 'quick', 'ci', 'thorough')"])


KNOWN = '    known_violations = {{"{law}": "crashes on an empty prompt, https://example.com/1"}}\n'


def test_a_known_violation_is_expected_to_fail(tests: Write, run: Run) -> None:
    """The reason is shown."""
    tests(CLASS + CRASHING + KNOWN.format(law="totality"))
    ran = run(*TOTALITY, "-rx")
    assert ran.parseoutcomes()["xfailed"] == 1
    ran.stdout.fnmatch_lines(
        [
            "TestCrashing: 0 laws held; 1 known to be broken (totality)",
            "*known violation of totality: crashes on an empty prompt, https://example.com/1",
        ]
    )
    assert ran.ret == pytest.ExitCode.OK


def test_a_known_violation_that_holds_fails(tests: Write, run: Run) -> None:
    """So that it is taken out, and stays mended."""
    tests(CLASS + KNOWN.format(law="totality"))
    ran = run(*TOTALITY)
    assert ran.parseoutcomes()["failed"] == 1
    ran.stdout.fnmatch_lines(
        [
            "totality is in known_violations of TestSupport (crashes *), but it held on 8 examples of the profile*",
            "If it is mended, take 'totality' out of known_violations, so that it stays so",
        ]
    )


def test_a_known_violation_of_no_law_is_a_usage_error(tests: Write, run: Run) -> None:
    """It names the class and the nearest law."""
    tests(CLASS + KNOWN.format(law="totalty"))
    ran = run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*: TestSupport: known_violations: there is no law 'totalty'; did you mean 'totality'?"])


def test_a_known_violation_of_a_law_that_is_ruled_out_says_so(tests: Write, run: Run) -> None:
    """A promise that is made may take the place of another one."""
    tests(CLASS + KNOWN.format(law="determinism") + "    load_balanced = True\n")
    ran = run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*known_violations: 'determinism' is not checked, as its other promises rule it out"])


def test_promises_that_contradict_each_other_are_one_line_each(tests: Write, run: Run) -> None:
    """Of one usage error, before anything runs."""
    tests(CLASS + '    safe_tier = "gpt-6"\n    retries = -1\n')
    ran = run()
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(
        [
            "ERROR: *TestSupport: safe_tier = 'gpt-6' is none of the tiers: gpt-5-nano, gpt-5",
            "TestSupport: retries = -1: how often a candidate is asked again was expected, 0 or more",
        ]
    )


def test_workers_tell_a_usage_error_too(tests: Write, run: Run) -> None:
    """With the same words and the same exit code."""
    tests(CLASS + KNOWN.format(law="totalty"))
    ran = run("-n", "2", using=("xdist",), inprocess=False)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stdout.fnmatch_lines(["*known_violations: there is no law 'totalty'; did you mean 'totality'?"])


def test_workers_tell_what_was_checked(tests: Write, run: Run) -> None:
    """The summary is that of a run in one process."""
    tests(CLASS)
    ran = run("-n", "2", *TOTALITY, using=("xdist",), inprocess=False)
    alone = run(*TOTALITY).stdout.lines
    start = next(place for place, line in enumerate(alone) if line.startswith("TestSupport: 1 law held"))
    section = [line for line in alone[start:] if line and not line.startswith("=")]
    assert {*section} <= {*ran.stdout.lines}


def test_what_was_not_exercised_is_skipped_with_the_reason(
    tests: Write, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And stands in the summary."""
    lawrun = import_module("pytest_modelroute.lawrun")
    check_law = lawrun.check_law

    def idle(*args: Any, **options: Any) -> Any:
        found = check_law(*args, **options)
        return replace(found, status="not exercised", examples=0, law=replace(found.law, idle="nobody streams"))

    monkeypatch.setattr(lawrun, "check_law", idle)
    tests(CLASS)
    ran = run(*TOTALITY, "-rs")
    ran.stdout.fnmatch_lines(
        [
            "SKIPPED*totality was not exercised: nobody streams",
        ]
    )
    assert "TestSupport: 0 laws held; 1 not exercised (totality)" in ran.stdout.lines


def test_a_router_that_cannot_be_used_fails_its_tests_with_one_message(tests: Write, run: Run) -> None:
    """The others point to the first, and the summary says what that means."""
    tests(CLASS.replace('return Router(providers.url("openai"))', 'raise KeyError("SUPPORT_URL")'))
    ran = run("-k", "totality or determinism")
    ran.stdout.fnmatch_lines(
        [
            "TestSupport.make_router raised KeyError: 'SUPPORT_URL'",
            "  at test_router.py:*, in make_router: raise KeyError(*",
            "not checked: TestSupport.make_router raised KeyError: 'SUPPORT_URL' (the first failure of TestSupport*",
            "*2 not checked, since the router cannot be used (totality, determinism)",
        ]
    )


NOISY = CLASS.replace("        return router.answer", "        print(request.prompt)\n        return router.answer")


def test_noise_fails_a_law_where_warnings_are_errors(tests: Write, run: Run) -> None:
    """As the project has asked."""
    tests(NOISY)
    ran = run(*TOTALITY, "-W", "error")
    assert ran.parseoutcomes()["failed"] == 1
    ran.stdout.fnmatch_lines(["TestSupport: the router writes to stdout (*"])


def test_noise_is_a_warning_once(tests: Write, run: Run) -> None:
    """It is no breach of a promise, and does not drown the report."""
    tests(NOISY)
    ran = run("-k", "totality or determinism", "--modelroute-profile=quick", "-s", "-W", "default")
    assert ran.parseoutcomes()["warnings"] == 1
    ran.stdout.fnmatch_lines(["*TestSupport: the router writes to stdout (*"])


LOADED = """
import sys

def pytest_unconfigure():
    print("LOADED", [name for name in ("hypothesis", "app_router", "httpx") if name in sys.modules])
"""


def test_collection_loads_neither_hypothesis_nor_the_router(tests: Write, run: Run, pytester: pytest.Pytester) -> None:
    """Only a law that runs needs them."""
    tests(CLASS)
    pytester.makeconftest(LOADED)
    run("--collect-only", "-s", inprocess=False).stdout.fnmatch_lines(["*LOADED []*"])


ASYNC = (
    CLASS.replace("    def ask", "    async def ask").replace("return router.answer", "return await router.aanswer")
    + """
async def test_other():
    pass
"""
)


def test_classes_work_beside_pytest_asyncio(tests: Write, run: Run) -> None:
    """In its auto mode, in which it takes every coroutine for its own."""
    tests(ASYNC)
    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    ran = run(
        "-o", "asyncio_mode=auto", *scope, "-k", "totality or other", "--modelroute-profile=quick", using=("asyncio",)
    )
    assert ran.parseoutcomes()["passed"] == 2


def test_classes_work_beside_anyio(tests: Write, run: Run) -> None:
    """Whose tests have a loop of their own."""
    tests("import pytest\npytestmark = pytest.mark.anyio\n" + ASYNC)
    ran = run("-k", "totality or (other and asyncio)", "--modelroute-profile=quick", using=("anyio",))
    assert ran.parseoutcomes()["passed"] == 2


STATE = (
    """
import os, random, socket, ssl, sys, time, datetime
import httpx

def state():
    return [
        ssl.create_default_context, dict(os.environ), sys.stdout, time.time, time.sleep, socket.socket.connect,
        datetime.datetime, random.getstate(), httpx.Client.send,
    ]

def ask():
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    reply = httpx.post("https://api.openai.com/v1/chat/completions", json=body)
    return reply.json()["choices"][0]["message"]["content"]

def test_before(mock_providers):
    mock_providers.on(model="m").replies("before", latency=3)
    assert ask() == "before"

def test_remember():
    STATE.append(state())

STATE = []
"""
    + CLASS.replace(
        "    def ask",
        "    def test_own(self):\n        STATE.append(state())\n\n    def ask",
    )
    + """
def test_after(mock_providers, call_log):
    now, before, within = state(), *STATE
    mock_providers.on(model="m").replies("after", latency=3)
    assert ask() == "after"
    assert [call.latency_s for call in call_log] == [3]

def test_all_is_as_it_was():
    before, within = ([e if not isinstance(e, dict) else
        {k: v for k, v in e.items() if k != "PYTEST_CURRENT_TEST"} for e in told] for told in STATE)
    now = [e if not isinstance(e, dict) else
        {k: v for k, v in e.items() if k != "PYTEST_CURRENT_TEST"} for e in state()]
    assert now == before == within
"""
)


def test_scripted_tests_and_laws_share_a_session(tests: Write, run: Run) -> None:
    """Each leaves the clocks, the network, the environment, stdout and the random numbers as they were."""
    tests(STATE)
    outcomes = run("--modelroute-profile=quick", "-s").parseoutcomes()
    assert "failed" not in outcomes
    assert outcomes["passed"] >= 6


def test_the_tests_of_this_module_run_in_this_process() -> None:
    """Hypothesis was loaded before them, and is not loaded again by each."""
    assert "pytest_modelroute.invariants.strategies" in sys.modules
