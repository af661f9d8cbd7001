"""Strict in both directions: what a test with scripted providers fails for, and what it says then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_an_unscripted_call_fails_although_everything_is_swallowed(run: Run) -> None:
    """A test that swallows BaseException still fails for a call without a script."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(model='gpt-4.1-mini', optional=True).replies('ok')\n"
        "    try:\n"
        "        ask('gpt-4.1', 'where is it?')\n"
        "    except BaseException:\n"
        "        pass\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "no script answers this provider call:",
            "  POST https://api.openai.com/v1/chat/completions  model 'gpt-4.1'",
            "  prompt: 'where is it?'",
            "  called at test_it.py:*, in ask: return httpx.post(*",
            "scripts, and why they do not answer:",
            "  on(model='gpt-4.1-mini').replies('ok')  (test_it.py:*): other model",
            "did the script for 'gpt-4.1-mini' mean 'gpt-4.1'?",
            "If the call is right, script it: mock_providers.on(model='gpt-4.1').replies(...)",
            "or answer everything else alike: mock_providers.otherwise(...)",
        ],
        consecutive=True,
    )


def test_a_fallback_cannot_swallow_an_unscripted_call(run: Run) -> None:
    """An except Exception, as a fallback has it, does not catch a hole in the test."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(model='backup', optional=True).replies('ok')\n"
        "    try:\n"
        "        ask('first')\n"
        "    except Exception:\n"
        "        ask('backup')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*'backup'*200*")


def test_an_unscripted_call_shows_where_it_was_called(run: Run) -> None:
    """The last place of the user's own code is named, with its line of source."""
    result = run("def test_it(mock_providers):\n    ask('m')\n")
    result.stdout.fnmatch_lines(["*called at test_it.py:9, in ask: return httpx.post(*", "no script was made"])


def test_an_unscripted_call_names_its_step(run: Run) -> None:
    """The label of a call is part of the message."""
    result = run("def test_it(mock_providers, call_log):\n    with call_log.label(step='plan'):\n        ask('m')\n")
    result.stdout.fnmatch_lines(["  POST */chat/completions  model 'm'  step 'plan'"])


def test_a_long_prompt_is_cut(run: Run) -> None:
    """A long prompt is shown by its first 100 characters."""
    result = run("def test_it(mock_providers):\n    ask('m', 'x' * 300)\n")
    result.stdout.fnmatch_lines([f"  prompt: '{'x' * 100}...'"])


def test_the_same_unscripted_call_is_told_once(run: Run) -> None:
    """A call that is repeated in a loop is reported once."""
    result = run(
        "def test_it(mock_providers):\n"
        "    for _ in range(3):\n"
        "        try:\n"
        "            ask('m')\n"
        "        except BaseException:\n"
        "            pass\n"
    )
    assert result.outlines.count("no script answers this provider call:") == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("mock_providers.on(provider='groq', optional=True).replies('x')", "other provider"),
        ("mock_providers.on(step='plan', optional=True).replies('x')", "the call carries no step*"),
        ("mock_providers.on(when=lambda call: False, optional=True).replies('x')", "its predicate says no"),
        ("mock_providers.on(model='m', optional=True)", "has no answer"),
        ("mock_providers.on(model='m').replies(['x']); ask('m')", "used up"),
    ],
)
def test_each_script_says_why_it_does_not_answer(run: Run, script: str, reason: str) -> None:
    """A call without a script is told of each script what kept it from answering."""
    result = run(f"def test_it(mock_providers):\n    {script}\n    ask('m')\n")
    result.stdout.fnmatch_lines([f"  on(*test_it.py:*): {reason}"])


@pytest.mark.parametrize("count", [12, 15])
def test_a_long_row_of_scripts_is_cut(run: Run, count: int) -> None:
    """No more than twelve scripts are shown, and the rest is counted."""
    result = run(
        "def test_it(mock_providers):\n"
        f"    for number in range({count}):\n"
        "        mock_providers.on(model=f'model-{number}', optional=True).replies('x')\n"
        "    ask('m')\n"
    )
    more = [line for line in result.outlines if line.startswith("  ... ") and line.endswith(" more")]
    # Where CI is set, pytest repeats the message in its summary.
    assert set(more) == (set() if count == 12 else {"  ... 3 more"})


def test_the_message_survives_a_predicate_that_raises(run: Run) -> None:
    """A predicate of a used-up script that cannot read a call does not replace the message about that call."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(when=lambda call: call.params['seed'] == 1).replies(['once'])\n"
        "    ask('m', seed=1)\n"
        "    ask('m')\n"
    )
    result.stdout.fnmatch_lines(["no script answers this provider call:"])


def test_an_unused_script_fails(run: Run) -> None:
    """A script that was never used fails a test that passed otherwise."""
    result = run("def test_it(mock_providers):\n    mock_providers.on(model='m').replies('ok')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "scripts were not used up, so something that this test expects did not happen:",
            "  on(model='m').replies('ok')  (test_it.py:12): never used",
            "models asked for: none",
            "If that is fine: mock_providers.on(..., optional=True)",
        ],
        consecutive=True,
    )


def test_a_misspelt_model_is_suggested(run: Run) -> None:
    """An unused script whose model is nearly one that was asked for says so."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(model='gpt-4.1-mnii').replies('ok')\n"
        "    mock_providers.otherwise('ok')\n"
        "    ask('gpt-4.1-mini'), ask('gpt-4.1-mini'), ask('other')\n"
    )
    result.stdout.fnmatch_lines(
        [
            "model 'gpt-4.1-mnii' was never asked for; did you mean 'gpt-4.1-mini'?",
            "models asked for: 'gpt-4.1-mini' (2), 'other' (1)",
        ],
        consecutive=True,
    )


def test_a_partly_used_stage_fails(run: Run) -> None:
    """A fault that is to happen three times and happened once fails the test."""
    result = run(
        "def test_it(mock_providers):\n    mock_providers.on(model='m').fails(overloaded(), times=3)\n    ask('m')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  on(model='m').fails(overloaded(), times=3)  (*): fails(overloaded(), times=3) used 1 of 3 times"]
    )


def test_a_stage_that_was_not_reached_fails(run: Run) -> None:
    """A reply after a fault that never came to its turn fails the test."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(model='m').fails(overloaded(), times=1).then.replies('ok')\n"
        "    ask('m')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  on(model='m')*: replies('ok') never used"])


def test_a_script_without_an_answer_fails(run: Run) -> None:
    """A script that was begun and not finished fails the test."""
    result = run("def test_it(mock_providers):\n    mock_providers.on(model='m')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  on(model='m')  (test_it.py:12): has no answer: add .replies(...) or .fails(...)"])


def test_a_long_row_of_unused_scripts_is_cut(run: Run) -> None:
    """No more than twelve unused scripts are shown, and the rest is counted."""
    result = run(
        "def test_it(mock_providers):\n"
        "    for number in range(15):\n"
        "        mock_providers.on(model=f'model-{number}').replies('x')\n"
    )
    result.stdout.fnmatch_lines(["  on(model='model-11')*never used", "  ... 3 more"], consecutive=True)


@pytest.mark.parametrize(
    "script",
    [
        "mock_providers.on(model='m', optional=True).replies('ok')",
        "mock_providers.on(model='m', optional=True).fails(overloaded(), times=3)",
        "mock_providers.on(model='m', optional=True)",
    ],
)
def test_an_optional_script_may_stay_unused(run: Run, script: str) -> None:
    """A script that is optional is no expectation."""
    run(f"def test_it(mock_providers):\n    {script}\n").assert_outcomes(passed=1)


def test_an_endless_reply_is_used_up_by_one_call(run: Run) -> None:
    """A reply for any number of calls asks for one at least."""
    result = run("def test_it(mock_providers):\n    mock_providers.on().replies('ok')\n    ask('m')\n")
    result.assert_outcomes(passed=1)


def test_a_skipped_test_is_not_failed_for_its_scripts(run: Run) -> None:
    """A test that skips itself keeps its outcome, whatever it had scripted."""
    result = run("def test_it(mock_providers):\n    mock_providers.on().replies('ok')\n    pytest.skip('not here')\n")
    result.assert_outcomes(skipped=1)


def test_a_script_hidden_behind_another_fails_at_once(run: Run) -> None:
    """A script that can never match is refused where it is made, with both places."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on(model='m').replies('all')\n"
        "    mock_providers.on(model='m', step='plan').replies('some')\n"
    )
    result.stdout.fnmatch_lines(
        [
            "*on(model='m', step='plan') (test_it.py:13) can never match: an earlier script answers all such calls*:",
            "*  on(model='m').replies('all')  (test_it.py:12)",
            "*Put the narrower script first, give the earlier one an end, or make it the default: *otherwise(...)",
        ]
    )


def test_a_stage_after_an_endless_one_fails_at_once(run: Run) -> None:
    """A stage that is never reached is refused where it is made, with a way out."""
    result = run(
        "def test_it(mock_providers):\n    mock_providers.on(model='m').fails(overloaded()).then.replies('ok')\n"
    )
    result.stdout.fnmatch_lines(
        [
            "*replies('ok') can never be reached: fails(overloaded()) before it goes on for ever (test_it.py:12).",
            "*Give it an end: fails(..., times=N), or replies([[]...[]]) with one entry a call.",
        ]
    )


def test_a_reply_function_that_raises_shows_its_own_traceback(run: Run) -> None:
    """The user sees the line of the function that raised."""
    result = run(
        "def answer(call):\n"
        "    return call.params['colour']\n"
        "def test_it(mock_providers):\n"
        "    mock_providers.on().replies(answer)\n"
        "    ask('m')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "script on().replies(answer)  (test_it.py:14) raised on call 1 (KeyError: 'colour')",
            "the script's own traceback:",
            "Traceback (most recent call last):",
            '  File "*test_it.py", line 12, in answer',
            "KeyError: 'colour'",
        ]
    )


def test_a_reply_function_that_raises_fails_although_swallowed(run: Run) -> None:
    """A function that raises fails the test whatever the code under test catches."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on().replies(lambda call: 1 / 0)\n"
        "    try:\n"
        "        ask('m')\n"
        "    except BaseException:\n"
        "        pass\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "script on().replies(<lambda>)*raised on call 1 (ZeroDivisionError: division by zero)",
            "the script's own traceback:",
            '  File "*test_it.py", line 12, in <lambda>',
        ]
    )


def test_a_reply_function_that_returns_nonsense_fails(run: Run) -> None:
    """The message shows what was returned and what was expected."""
    result = run("def test_it(mock_providers):\n    mock_providers.on().replies(lambda call: 42)\n    ask('m')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["script on()*answered call 1 with 42; a text, a Reply or a fault was expected"])


def test_a_predicate_that_raises_shows_its_own_traceback(run: Run) -> None:
    """A predicate that raises is named, with the line that raised."""
    result = run(
        "def fussy(call):\n"
        "    return call.params['colour']\n"
        "def test_it(mock_providers):\n"
        "    mock_providers.on(when=fussy, optional=True).replies('ok')\n"
        "    ask('m')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the predicate of script on(when=fussy)*raised on call 1 (KeyError: 'colour')",
            "the script's own traceback:",
            '  File "*test_it.py", line 12, in fussy',
        ]
    )


def test_a_call_that_cannot_be_read_fails(run: Run) -> None:
    """A body that is no request of the format fails the test although its error is swallowed."""
    result = run(
        "def test_it(mock_providers):\n"
        "    try:\n"
        "        httpx.post('https://api.openai.com/v1/chat/completions', content=b'{broken')\n"
        "    except Exception:\n"
        "        pass\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["a call of https://api.openai.com/v1/chat/completions cannot be read: *not JSON*"])


def test_a_read_timeout_without_a_timeout_fails(run: Run) -> None:
    """A client that would wait for ever is told so, and the test fails although its error is swallowed."""
    result = run(
        "from pytest_modelroute.faults import read_timeout\n"
        "def test_it(mock_providers):\n"
        "    mock_providers.on().fails(read_timeout())\n"
        "    with pytest.raises(httpx.ReadTimeout):\n"
        "        ask('m')\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["call 1 to 'm' is scripted to get no answer, and would wait for ever: the client has no read timeout"]
    )


def test_a_failed_test_shows_its_calls(run: Run) -> None:
    """A test that fails for its own reason shows what was called."""
    result = run(
        "def test_it(mock_providers):\n"
        "    mock_providers.on().replies('ok', latency=0.5)\n"
        "    ask('gpt-4.1-mini')\n"
        "    assert False\n"
    )
    result.stdout.fnmatch_lines(["*modelroute: provider calls*", "1  0.000s  gpt-4.1-mini  200     500 ms *script 1"])


def test_what_happens_in_teardown_is_reported(run: Run) -> None:
    """A call without a script in a fixture's teardown ends in an error, also when it is swallowed."""
    result = run(
        "@pytest.fixture\n"
        "def app(mock_providers):\n"
        "    yield\n"
        "    try:\n"
        "        ask('goodbye')\n"
        "    except BaseException:\n"
        "        pass\n"
        "def test_it(app):\n"
        "    pass\n"
    )
    result.assert_outcomes(passed=1, errors=1)


def test_teardown_tells_its_own_failure(run: Run) -> None:
    """A call without a script in teardown is told also after a refused connection in the test."""
    result = run(
        "@pytest.fixture\n"
        "def app(mock_providers):\n"
        "    yield\n"
        "    try:\n"
        "        ask('goodbye')\n"
        "    except BaseException:\n"
        "        pass\n"
        "def test_it(app):\n"
        "    socket.create_connection(('shop.example', 80))\n"
    )
    result.stdout.fnmatch_lines(["  POST https://api.openai.com/v1/chat/completions  model 'goodbye'"])


def test_a_session_keeps_no_call_of_a_test_that_is_over(run: Run, pytester: pytest.Pytester) -> None:
    """What the fixtures of a test shared is freed after its teardown."""
    pytester.makeconftest(
        "import gc\n"
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_sessionfinish():\n"
        "    gc.collect()\n"
        "    from pytest_modelroute.testrun import TestRun\n"
        "    print('kept:', sum(type(each) is TestRun and '::test_kept_' in each._test "
        "for each in gc.get_objects()))\n"
    )
    # By names of their own: a failure of another run in this process keeps what its traceback holds.
    tests = "def test_kept_one(mock_providers):\n    mock_providers.otherwise('ok')\n    ask()\n"
    result = run(tests + tests.replace("one", "two"), "-s")
    result.stdout.fnmatch_lines(["*kept: 0"])
