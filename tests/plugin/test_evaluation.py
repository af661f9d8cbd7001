"""`evaluate_step` as a user meets it: what passes, what fails, what is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


@pytest.mark.usefixtures("classify")
def test_a_step_that_holds_its_limits_is_shown_with_its_evidence(pytester: pytest.Pytester, run: Run) -> None:
    """The summary gives verdict, value, k/n, interval, limit, cost and who answered."""
    pytester.makepyfile(
        """
        import pytest
        from app import CASES, GOLD, classify

        @pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
        def test_intents(evaluate_step, mock_providers):
            mock_providers.on(model="gpt-4.1-nano").replies(lambda call: GOLD[call.prompt], latency=0.18)
            evaluate_step(CASES, run=classify)
        """
    )
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*= modelroute =*",
            "PASS  classify_intent: 4 cases, virtual time  (*::test_intents)",
            "  ok    accuracy 1.000 (4/4, 95% 0.510 to 1.000)  limit min_accuracy=0.90",
            "  ok    p95 latency 180 ms (n=4, 95% 180 to unbounded)  limit max_latency_ms=500",
            "        cost 0.0000042 USD, 0.00000105 a case; 4 provider calls",
            "      model         cases  right  accuracy  95%             cost USD",
            "      gpt-4.1-nano  4      4      1.000     0.510 to 1.000  0.0000042",
        ],
        consecutive=True,
    )


@pytest.mark.usefixtures("classify")
def test_a_failure_reads_from_the_verdict_to_the_next_command(pytester: pytest.Pytester, run: Run) -> None:
    """Step and limit, k/n with interval, the worst cases, the confusion, who answered, how to rerun one."""
    pytester.makepyfile(
        """
        import pytest
        from app import CASES, GOLD, classify

        @pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
        def test_intents(evaluate_step, mock_providers):
            answer = lambda call: GOLD[call.prompt].replace("fraud", "bill")
            mock_providers.on(model="gpt-4.1-nano").replies(answer, latency=0.18)
            evaluate_step(CASES, run=classify)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "step 'classify_intent' misses its limit: accuracy 0.750 < 0.90; 4 cases, virtual time",
            "  FAIL  accuracy 0.750 (3/4, 95% 0.301 to 0.954)  limit min_accuracy=0.90",
            "  ok    p95 latency 180 ms (n=4, 95% 180 to unbounded)  limit max_latency_ms=500",
            "",
            "worst cases (1 wrong):",
            "  case    expected  got   answered by   inputs",
            "  stolen  fraud     bill  gpt-4.1-nano  card was stolen",
            "confusion that cost most: 1 case of 'fraud' was taken for 'bill' (by gpt-4.1-nano 1)",
            "",
            "by model that answered:",
            "*",
            "*",
            "",
            "rerun one case: pytest *.py::test_intents --modelroute-case=stolen",
            "*- modelroute: provider calls -*",
            "#  at      step             case    model         status  latency  tokens in/out  cost USD   answered by",
            "2  0.180s  classify_intent  stolen  gpt-4.1-nano  200     180 ms   4/1            0.0000008  script 1",
            "(3 calls of other cases are not shown)",
        ],
        consecutive=True,
    )


def test_an_exception_in_the_code_under_test_is_an_error_of_its_case(pytester: pytest.Pytester, run: Run) -> None:
    """The other cases are still run; the error is listed apart, with its place, and fails the step."""
    pytester.makepyfile(
        """
        import pytest

        def divide(number):
            return 12 // number

        @pytest.mark.step_threshold("divide", min_accuracy=0.5)
        def test_divide(evaluate_step):
            cases = [{"id": str(n), "inputs": n, "expected_output": 12 // max(n, 1)} for n in (0, 1, 2, 3)]
            evaluate_step(cases, run=divide)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "step 'divide' failed: 4 cases, 1 ended in an error, real time",
            "  ok    accuracy 1.000 (3/3, *)  limit min_accuracy=0.50",
            "",
            "1 of 4 cases ended in an error (not counted as wrong answers):",
            "  case '0': ZeroDivisionError: * at *.py:4, in divide: return 12 // number",
            "",
            "rerun one case: pytest *.py::test_divide --modelroute-case=0",
        ],
        consecutive=True,
    )


@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.usefixtures("classify")
def test_an_async_test_awaits_aio(pytester: pytest.Pytester, run: Run, mode: str) -> None:
    """Under pytest-asyncio, in both modes, cases overlap in virtual time."""
    pytester.makepyfile(
        """
        import pytest
        from app import CASES, GOLD, aclassify

        @pytest.mark.asyncio
        @pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
        async def test_intents(evaluate_step, mock_providers, virtual_time):
            mock_providers.on(model="gpt-4.1-nano").replies(lambda call: GOLD[call.prompt], latency=0.5)
            await evaluate_step.aio(CASES, run=aclassify, concurrency=2)
            assert virtual_time.now == 1.0
        """
    )
    result = run("-o", f"asyncio_mode={mode}", using=("asyncio",), inprocess=False)
    result.assert_outcomes(passed=1)


@pytest.mark.usefixtures("classify")
def test_an_anyio_test_awaits_aio(pytester: pytest.Pytester, run: Run) -> None:
    """Under anyio's plugin, on asyncio, the same holds."""
    pytester.makepyfile(
        """
        import pytest
        from app import CASES, GOLD, aclassify

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        @pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
        async def test_intents(evaluate_step, mock_providers, virtual_time):
            mock_providers.on(model="gpt-4.1-nano").replies(lambda call: GOLD[call.prompt], latency=0.5)
            await evaluate_step.aio(CASES, run=aclassify)
            assert virtual_time.now == 2.0
        """
    )
    run(using=("anyio",), inprocess=False).assert_outcomes(passed=1)


def test_a_case_file_is_found_beside_its_test(pytester: pytest.Pytester, run: Run) -> None:
    """A relative path starts at the folder of the test module, wherever pytest was started."""
    folder = pytester.mkdir("suite")
    (folder / "cases.jsonl").write_text('{"inputs": "a", "expected_output": "A"}\n', "utf-8")
    (folder / "test_upper.py").write_text(
        "def test_upper(evaluate_step):\n    assert evaluate_step('cases.jsonl', run=str.upper).accuracy == 1\n",
        "utf-8",
    )
    run().assert_outcomes(passed=1)


def test_a_malformed_case_fails_with_file_and_line(pytester: pytest.Pytester, run: Run) -> None:
    """The error of a cut case file is one line that points to the place."""
    pytester.makefile(".jsonl", cases='{"inputs": "a", "expected_output": "A"}\n{"inputs": "b", "expec\n')
    pytester.makepyfile("def test_upper(evaluate_step):\n    evaluate_step('cases.jsonl', run=str.upper)\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cases.jsonl:2: not a case in JSON (*"])
    result.stdout.no_fnmatch_line("*evaluation/cases.py*")


def test_limits_of_the_settings_judge_a_step_without_a_marker(pytester: pytest.Pytester, run: Run) -> None:
    """`step=` alone is enough where the settings have limits for it."""
    pytester.makefile(".toml", modelroute="[thresholds.upper]\nmin_accuracy = 0.9\n")
    pytester.makepyfile(
        """
        def test_upper(evaluate_step):
            evaluate_step([{"inputs": "a", "expected_output": "b"}], run=str.upper, step="upper")
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["step 'upper' misses its limit: accuracy 0.000 < 0.90; 1 case, real time"])


@pytest.mark.usefixtures("classify")
def test_a_limit_on_cost_needs_a_price(pytester: pytest.Pytester, run: Run) -> None:
    """A model without a price is an error that says how to price it, never a cost of 0."""
    pytester.makepyfile(
        """
        import pytest
        import openai

        def ask(query):
            client = openai.OpenAI(api_key="key")
            return client.chat.completions.create(model="house-model", messages=[{"role": "user", "content": query}])

        @pytest.mark.step_threshold("ask", max_cost_usd=0.01)
        def test_ask(evaluate_step, mock_providers):
            mock_providers.on(model="house-model").replies("fine")
            evaluate_step([{"inputs": "a"}], run=ask, score=lambda output, expected: True)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*'house-model' has no price: genai-prices does not list it for openai and the settings do not price it.",
            "*input_price = *",
        ]
    )


@pytest.mark.usefixtures("classify")
def test_the_summary_is_the_same_under_xdist(pytester: pytest.Pytester, run: Run) -> None:
    """Evaluations cross from the workers to the controller."""
    pytester.makepyfile(
        """
        import pytest
        from app import CASES, GOLD, classify

        @pytest.mark.step_threshold("classify_intent", min_accuracy=0.90)
        def test_intents(evaluate_step, mock_providers):
            mock_providers.on(model="gpt-4.1-nano").replies(lambda call: GOLD[call.prompt])
            evaluate_step(CASES, run=classify)
        """
    )
    serial = run(inprocess=False).stdout.lines
    parallel = run("-n", "2", using=("xdist",), inprocess=False).stdout.lines
    start = serial.index(next(line for line in serial if "= modelroute =" in line))
    section = serial[start + 1 : start + 5]
    assert section[0].startswith("PASS  classify_intent")
    assert all(line in parallel for line in section)


@pytest.mark.parametrize(
    "caught",
    [
        "with pytest.raises(pytest.fail.Exception):\n                ",
        "with contextlib.suppress(BaseException):\n                ",
    ],
    ids=["expected", "suppressed"],
)
def test_a_verdict_that_the_test_caught_still_fails_it(pytester: pytest.Pytester, run: Run, caught: str) -> None:
    """A missed limit cannot be swallowed by the test around it."""
    pytester.makepyfile(
        f"""
        import contextlib

        import pytest

        @pytest.mark.step_threshold("upper", min_accuracy=0.9)
        def test_upper(evaluate_step):
            {caught}evaluate_step([{{"inputs": "a", "expected_output": "b"}}], run=str.upper)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["step 'upper' misses its limit: accuracy 0.000 < 0.90; 1 case, real time"])


def test_a_missed_limit_on_latency_names_the_slowest_cases(pytester: pytest.Pytester, run: Run) -> None:
    """Where answers are right and late, the cases to look at are the slow ones, with the command to rerun one."""
    pytester.makepyfile(
        """
        import time

        import pytest

        def answer(seconds):
            time.sleep(seconds)
            return "done"

        @pytest.mark.step_threshold("answer", max_latency_ms=500)
        def test_answer(evaluate_step, virtual_time):
            cases = [{"id": f"wait-{n}", "inputs": n / 10, "expected_output": "done"} for n in range(1, 9)]
            evaluate_step(cases, run=answer)
        """
    )
    run().stdout.fnmatch_lines(
        [
            "step 'answer' misses its limit: p95 latency 800 ms > 500; 8 cases, virtual time",
            "slowest cases:",
            "  case    elapsed  cost USD  calls  answered by  inputs",
            "  wait-8  800 ms   0         0      no model     0.8",
            "rerun one case: pytest *.py::test_answer --modelroute-case=wait-8",
        ]
    )


def test_limits_that_the_cases_cannot_show_are_refused_before_the_run(pytester: pytest.Pytester, run: Run) -> None:
    """A limit on routes without an expected route costs no call."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.step_threshold("answer", max_misroute_rate=0.1)
        def test_answer(evaluate_step):
            evaluate_step([{"inputs": "it ran", "expected_output": "A"}], run=print)
        """
    )
    result = run("-s")
    result.stdout.fnmatch_lines(["a limit on routes, but no case has an expected_route, so nothing would be measured"])
    result.stdout.no_fnmatch_line("it ran")


def test_a_route_function_that_raises_is_named(pytester: pytest.Pytester, run: Run) -> None:
    """An error of `route=` is an error of its case, and says whose it is."""
    pytester.makepyfile(
        """
        def test_upper(evaluate_step):
            case = {"inputs": "a", "expected_output": "A"}
            evaluate_step([case], run=str.upper, route=lambda calls: calls[-1].model)
        """
    )
    run().stdout.fnmatch_lines(["  case '*': the function route= raised IndexError: *"])


def test_a_coroutine_that_nobody_awaited_is_no_answer(pytester: pytest.Pytester, run: Run) -> None:
    """An async function that returns another one unawaited is told, and not graded as wrong."""
    pytester.makepyfile(
        """
        async def inner(text):
            return text

        async def outer(text):
            return inner(text)

        def test_outer(evaluate_step):
            evaluate_step([{"id": "one", "inputs": "a", "expected_output": "a"}], run=outer)
        """
    )
    run().stdout.fnmatch_lines(["case 'one': run returned a coroutine that was never awaited"])


def test_a_price_for_one_provider_is_not_anothers(pytester: pytest.Pytester, run: Run) -> None:
    """A model that is priced on Azure has its listed price at its maker."""
    pytester.makefile(
        ".toml",
        modelroute='[models.it]\nmodel = "gpt-4.1"\nprovider = "azure"\ninput_price = 100\noutput_price = 100\n',
    )
    pytester.makepyfile(
        """
        import httpx

        def test_price(mock_providers):
            mock_providers.on().replies("hi", usage={"fresh_input": 1_000_000})
            body = {"model": "gpt-4.1", "messages": []}
            httpx.post("https://api.openai.com/v1/chat/completions", json=body)
            httpx.post("https://mine.openai.azure.com/openai/deployments/x/chat/completions", json=body)
            assert [float(call.cost_usd) for call in mock_providers.calls] == [2.0, 100.0]
        """
    )
    run().assert_outcomes(passed=1)
