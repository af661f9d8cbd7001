"""What fails a test from outside: holes that the code under test swallowed, and calls after its end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_a_refused_connection_is_said_before_what_it_caused(pytester: pytest.Pytester, run: Run) -> None:
    """The cause comes first, then how the test itself ended, by the places in the user's code."""
    pytester.makepyfile(
        """
        import requests

        def lookup():
            return requests.get("http://shop.example/orders/1")

        def test_lookup(mock_providers):
            lookup()
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "a connection to shop.example was refused (requests > urllib3 > http.client): with scripted providers a*",
            "  called at *.py:4, in lookup: return requests.get(*",
            "To allow this host: allow_hosts = *shop.example*",
            "",
            "the test itself ended with ConnectionError",
            "  at *.py:7, in test_lookup: lookup()",
            "  at *.py:4, in lookup: return requests.get(*",
            "(all of it with --full-trace)",
        ],
        consecutive=True,
    )


def test_full_trace_shows_all_of_it(pytester: pytest.Pytester, run: Run) -> None:
    """Nothing is lost: the whole traceback is one option away."""
    pytester.makepyfile(
        """
        import requests

        def test_lookup(mock_providers):
            requests.get("http://shop.example/orders/1")
        """
    )
    run("--full-trace").stdout.fnmatch_lines(["*the test itself ended with:", "*requests/adapters.py*"])


def test_a_call_in_teardown_fails_too(pytester: pytest.Pytester, run: Run) -> None:
    """A fixture that calls a provider on its way out is not beyond the scripts."""
    pytester.makepyfile(
        """
        import httpx
        import pytest

        @pytest.fixture
        def goodbye(mock_providers):
            yield
            with pytest.raises(BaseException):
                httpx.post("https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": []})

        def test_it(goodbye):
            pass
        """
    )
    result = run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["no script answers this provider call:"])


def test_a_script_that_raises_shows_its_own_traceback(pytester: pytest.Pytester, run: Run) -> None:
    """The failure is the script's, not the client's."""
    pytester.makepyfile(
        """
        import httpx

        GOLD = {}

        def answer(call):
            return GOLD[call.prompt]

        def test_it(mock_providers):
            mock_providers.on(model="m").replies(answer)
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            httpx.post("https://api.openai.com/v1/chat/completions", json=body)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "script on(model='m').replies(answer)  (*.py:9) raised on call 1 (KeyError: 'hi')",
            "",
            "the script's own traceback:",
            "*",
            "*line 6, in answer",
            "*",
            "KeyError: 'hi'",
        ]
    )
    result.stdout.no_fnmatch_line("*httpx/_client.py*")


def test_a_failed_test_shows_its_calls(pytester: pytest.Pytester, run: Run) -> None:
    """The call log is printed as a table with any failure."""
    pytester.makepyfile(
        """
        import httpx

        def test_it(mock_providers):
            mock_providers.on(model="gpt-4.1").replies("hi")
            body = {"model": "gpt-4.1", "messages": []}
            httpx.post("https://api.openai.com/v1/chat/completions", json=body)
            assert False, "for another reason"
        """
    )
    result = run()
    result.stdout.fnmatch_lines(
        ["*for another reason", "*- modelroute: provider calls -*", "#  at *", "1  0.000s  gpt-4.1 *"]
    )


def test_a_failed_test_is_not_also_blamed_for_unused_scripts(pytester: pytest.Pytester, run: Run) -> None:
    """A test that stopped early did not reach its scripts: that is no news."""
    pytester.makepyfile(
        """
        def test_it(mock_providers):
            mock_providers.on(model="m").replies("hi")
            assert False, "the real reason"
        """
    )
    result = run()
    result.stdout.fnmatch_lines(["*the real reason"])
    result.stdout.no_fnmatch_line("*scripts were never used*")


def test_a_rerun_begins_anew(pytester: pytest.Pytester, run: Run) -> None:
    """A plugin that runs a failed test again gives it a fresh log and fresh scripts."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    pytester.makepyfile(
        """
        import httpx

        def test_it(mock_providers):
            mock_providers.on(model="m").replies(["only once"])
            body = {"model": "m", "messages": []}
            httpx.post("https://api.openai.com/v1/chat/completions", json=body)
            assert len(mock_providers.calls) == 1
        """
    )
    run().assert_outcomes(passed=1)
