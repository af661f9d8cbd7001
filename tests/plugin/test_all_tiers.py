"""`--modelroute-record-all-tiers`: every case on every model once, for routing edits that are judged without a call."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.evaluation.outcome_files import read_outcomes
from pytest_modelroute.evaluation.outcomes import OutcomeMatrix

Run = Callable[..., pytest.RunResult]

GOLD = {"hello": "greeting", "card was stolen": "fraud", "pay my bill": "bill", "the parcel": "order"}
RIGHT = {"small": 2, "medium": 3, "claude-large": 4}
"Model -> how many of the cases, in order, it gets right."
RECORD = ("--modelroute-record=new", "--modelroute-record-all-tiers")


class Provider:
    """Serves models in OpenAI's and Anthropic's format on 127.0.0.1; their answers depend on model and prompt alone."""

    def __init__(self) -> None:
        """Serve."""
        self.asked: list[tuple[str, str]] = []
        "(model, prompt) of each call."
        self.refuses: dict[str, int] = {}
        "Model -> the status that it answers with."
        self.keys: set[str] = set()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.keys |= {str(self.headers.get(name)) for name in ("authorization", "x-api-key")}
                status, kind, body = provider.answer(self.path, asked)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        model, prompt = asked["model"], asked["messages"][-1]["content"]
        self.asked.append((model, prompt))
        if model in self.refuses:
            body = {"error": {"message": "not now", "type": "server_error", "code": None}}
            return self.refuses[model], "application/json", json.dumps(body).encode()
        right = model not in RIGHT or list(GOLD).index(prompt) < RIGHT[model]
        text = ("simple" if prompt == "hello" else "hard") if model == "judge" else GOLD[prompt] if right else "other"
        if path.endswith("/v1/messages"):
            content, usage = [{"type": "text", "text": text}], {"input_tokens": 10, "output_tokens": 2}
            reply: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": model}
            reply |= {"content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
            return 200, "application/json", json.dumps(reply).encode()
        head = {"id": "c", "created": 1, "model": model}
        used = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            whole = {**head, "object": "chat.completion", "choices": [choice], "usage": used}
            return 200, "application/json", json.dumps(whole).encode()
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": used},
        ]
        events = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return 200, "text/event-stream", "".join(f"data: {each}\n\n" for each in [*events, "[DONE]"]).encode()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(autouse=True, scope="session")
def clients_stay_loaded() -> None:
    """To load them takes seconds, and runs in process forget what they have loaded."""
    for name in ("anthropic", "openai", "httpcore", "httpcore2", "genai_prices", "vcr.serializers.yamlserializer"):
        import_module(name)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on 127.0.0.1."""
    server = Provider()
    yield server
    server.stop()


SETTINGS = """
[models.small]
model = "small"
tier = "small"
base_url = "{url}/v1"
input_price = 1
output_price = 1

[models.medium]
model = "medium"
tier = "medium"
base_url = "{url}/v1"
input_price = 10
output_price = 10

[models.large]
model = "claude-large"
tier = "large"
base_url = "{url}"
input_price = 100
output_price = 100
"""
APP = """
import openai, rules

def classify(query):
    with openai.OpenAI(api_key="key", base_url="{url}/v1", max_retries=0) as client:
        messages = [{{"role": "user", "content": query}}]
        reply = client.chat.completions.create(model=rules.model_for(query), messages=messages)
        return reply.choices[0].message.content
"""
TEST = """
import pytest, app

GOLD = {gold!r}
CASES = [{{"id": text, "inputs": text, "expected_output": label}} for text, label in GOLD.items()]

@pytest.mark.step_threshold("intent", min_accuracy=0.25)
def test_intents(evaluate_step, recorded_providers, call_log):
    evaluation = evaluate_step(CASES, run=app.classify)
    assert len(call_log) == len(evaluation.calls)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, provider: Provider) -> Callable[..., None]:
    """An application that asks OpenAI, its rules, its settings and its test."""

    def make(*, rule: str = "return 'small'", app: str = APP, settings: str = SETTINGS, test: str = TEST) -> None:
        texts = {"modelroute.toml": settings.format(url=provider.url), "app.py": app.format(url=provider.url)}
        texts |= {"rules.py": f"def model_for(query):\n    {rule}\n", "test_app.py": test.format(gold=GOLD)}
        for name, text in texts.items():
            (pytester.path / name).write_text(text, "utf-8")
        pytester.syspathinsert()

    return make


@pytest.fixture
def matrix(pytester: pytest.Pytester) -> Callable[[], OutcomeMatrix]:
    """Read what was saved beside the cassette."""
    return lambda: read_outcomes(outcomes_file(pytester))


def outcomes_file(pytester: pytest.Pytester) -> Path:
    """The file beside the cassette."""
    return pytester.path / "cassettes/test_app/test_intents.yaml.outcomes.jsonl"


@pytest.mark.parametrize("options", ["", ", concurrency=3"])
def test_every_case_is_run_on_every_model_once(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix], options: str
) -> None:
    """What the ordinary run has asked already is not asked again; the app asks OpenAI, one target is Anthropic's."""
    project(test=TEST.replace("run=app.classify", f"run=app.classify{options}"))
    run(*RECORD).assert_outcomes(passed=1)
    assert sorted(provider.asked) == sorted((model, prompt) for model in RIGHT for prompt in GOLD)
    assert {model: matrix().judge(matrix().always(model)).accuracy.count for model in RIGHT} == RIGHT


def test_the_summary_says_what_was_recorded(run: Run, project: Callable[..., None]) -> None:
    """One line a step."""
    project()
    result = run(*RECORD)
    result.stdout.fnmatch_lines(
        ["*recorded 4 cases on 3 models: small 0.50, medium 0.75, large 1.00 right; 0.005328 USD"]
    )


def test_an_edited_routing_is_replayed_without_the_network(
    run: Run, project: Callable[..., None], provider: Provider, pytester: pytest.Pytester
) -> None:
    """Record, stop the provider, edit the rule: the replay is green, and its accuracy and cost are other ones."""
    project()
    run(*RECORD).assert_outcomes(passed=1)
    before = run()
    before.stdout.fnmatch_lines(["*accuracy 0.500 (2/4*", "*cost 0.000048 USD*"])
    provider.stop()
    asked = len(provider.asked)
    (pytester.path / "rules.py").write_text("def model_for(query): return 'small' if query == 'hello' else 'medium'\n")
    after = run(inprocess=False)
    after.assert_outcomes(passed=1)
    after.stdout.fnmatch_lines(["*accuracy 0.750 (3/4*", "*cost 0.000372 USD*"])
    assert len(provider.asked) == asked


def test_the_matrix_foresees_the_replay(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """What an edited rule would do is judged from the file as the replay of it then measures."""
    project()
    run(*RECORD)
    judged = matrix().judge(lambda case: "small" if case == "hello" else "medium")
    assert (judged.accuracy.count, judged.n, str(judged.cost_usd)) == (3, 4, "0.000372")


def test_recording_again_what_is_there_changes_nothing(
    run: Run, project: Callable[..., None], provider: Provider, pytester: pytest.Pytester
) -> None:
    """No call, no new file: equal recordings give equal outcomes, latencies included."""
    project()
    run(*RECORD)
    before, asked = outcomes_file(pytester).read_bytes(), len(provider.asked)
    run(*RECORD).assert_outcomes(passed=1)
    assert (outcomes_file(pytester).read_bytes(), len(provider.asked)) == (before, asked)


def test_a_file_that_was_deleted_is_made_again_from_the_cassette(
    run: Run, project: Callable[..., None], provider: Provider, pytester: pytest.Pytester
) -> None:
    """Without a call, and to the byte."""
    project()
    run(*RECORD)
    before, asked = outcomes_file(pytester).read_bytes(), len(provider.asked)
    outcomes_file(pytester).unlink()
    run(*RECORD).assert_outcomes(passed=1)
    assert (outcomes_file(pytester).read_bytes(), len(provider.asked)) == (before, asked)


def test_a_model_that_fails_has_errors_for_outcomes(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """The run goes on, and the client under test got the error in its own language."""
    project()
    provider.refuses = {"claude-large": 529, "medium": 503}
    result = run(*RECORD)
    result.assert_outcomes(passed=1)
    errors = {(outcome.model, outcome.error, outcome.score) for outcome in matrix().outcomes if outcome.error}
    assert errors == {("claude-large", "overloaded", None), ("medium", "unavailable", None)}
    result.stdout.fnmatch_lines(["*medium none (4 errors), large none (4 errors) right*"])


ASYNC_APP = """
import anthropic, openai, rules

async def classify(query):
    async with openai.AsyncOpenAI(api_key="key", base_url="{url}/v1", max_retries=0) as client:
        messages = [{{"role": "system", "content": "Classify."}}, {{"role": "user", "content": query}}]
        reply = await client.chat.completions.create(
            model=rules.model_for(query), messages=messages, stream=True, stream_options={{"include_usage": True}}
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])
"""
ASYNC_TEST = TEST.replace("run=app.classify", "run=app.classify, concurrency=3")


def test_streams_of_async_clients_are_answered_in_their_language(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Several cases at once; Anthropic's stream reaches the client as one of OpenAI."""
    project(app=ASYNC_APP, test=ASYNC_TEST)
    answer = provider.answer

    def stream(path: str, asked: dict[str, Any]) -> tuple[int, str, bytes]:
        status, kind, body = answer(path, asked)
        if not path.endswith("/v1/messages"):
            return status, kind, body
        assert asked["system"] == "Classify."
        message = json.loads(body)
        text = message["content"][0]["text"]
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        frames = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        return 200, "text/event-stream", frames.encode()

    provider.answer = stream  # type: ignore[method-assign]
    run(*RECORD).assert_outcomes(passed=1)
    assert {model: matrix().judge(matrix().always(model)).accuracy.count for model in RIGHT} == RIGHT
    assert sorted(provider.asked) == sorted((model, prompt) for model in RIGHT for prompt in GOLD)


ANTHROPIC_APP = """
import anthropic, rules

def classify(query):
    with anthropic.Anthropic(api_key="key", base_url="{url}", max_retries=0) as client:
        messages = [{{"role": "user", "content": query}}]
        reply = client.messages.create(model=rules.model_for(query), max_tokens=16, messages=messages)
        return reply.content[0].text
"""


def test_an_application_of_anthropic_reads_what_openai_models_say(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """The other way round."""
    project(app=ANTHROPIC_APP, rule="return 'claude-large'")
    run(*RECORD).assert_outcomes(passed=1)
    assert {model: matrix().judge(matrix().always(model)).accuracy.count for model in RIGHT} == RIGHT


CLASSIFYING_APP = """
import openai, rules

def ask(model, query):
    with openai.OpenAI(api_key="key", base_url="{url}/v1", max_retries=0) as client:
        messages = [{{"role": "user", "content": query}}]
        return client.chat.completions.create(model=model, messages=messages).choices[0].message.content

def classify(query):
    return ask("small" if ask("judge", query) == "simple" else "medium", query)
"""
CLASSIFYING_SETTINGS = (
    SETTINGS
    + """
[models.judge]
model = "judge"
base_url = "{url}/v1"
input_price = 0
output_price = 0

[steps.intent]
model = "dynamic"
classifier = "judge"
"""
)


def test_a_classifier_is_asked_once_a_case_and_is_no_target(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Its answers are heard again in the further runs of a case, and cost there what they cost."""
    project(app=CLASSIFYING_APP, settings=CLASSIFYING_SETTINGS)
    run(*RECORD).assert_outcomes(passed=1)
    assert sorted(provider.asked) == sorted((model, prompt) for model in (*RIGHT, "judge") for prompt in GOLD)
    assert (matrix().models, matrix().outcome("hello", "large").input_tokens) == (sorted(RIGHT), 20)


CASCADE_APP = CLASSIFYING_APP.replace(
    'return ask("small" if ask("judge", query) == "simple" else "medium", query)',
    'return next((said for said in (ask(m, query) for m in ("small", "medium")) if said != "other"), "none")',
)


def test_a_cascade_asks_each_model_once(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """On one model there is nothing to escalate to: the second rung says what the first has said, at no cost."""
    project(app=CASCADE_APP)
    run(*RECORD).assert_outcomes(passed=1)
    assert sorted(provider.asked) == sorted((model, prompt) for model in RIGHT for prompt in GOLD)
    assert matrix().outcome("pay my bill", "small").input_tokens == 10


def test_nothing_is_kept_of_a_test_that_fails_and_nothing_is_paid_twice(
    run: Run, project: Callable[..., None], provider: Provider, pytester: pytest.Pytester
) -> None:
    """The journal has the calls for the next run; a step that misses its limit is not run on further models."""
    project(test=TEST.replace("min_accuracy=0.25", "min_accuracy=0.9"))
    run(*RECORD).assert_outcomes(failed=1)
    assert (outcomes_file(pytester).exists(), len(provider.asked)) == (False, 4)
    project(test=TEST + "    assert False\n")
    run(*RECORD).assert_outcomes(failed=1)
    assert (outcomes_file(pytester).exists(), len(provider.asked)) == (False, 12)
    project()
    run(*RECORD).assert_outcomes(passed=1)
    assert (outcomes_file(pytester).exists(), len(provider.asked)) == (True, 12)


def test_a_missing_key_is_named_before_anything_is_called(
    run: Run, project: Callable[..., None], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them at once; a host on this machine needs none."""
    for name in ("ANTHROPIC_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    more = '\n[models.mistral]\nmodel = "mistral-small-latest"\nprovider = "mistral"\n'
    project(settings=SETTINGS.replace('base_url = "{url}"\n', "") + more)
    result = run(*RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*--modelroute-record-all-tiers calls every model of the settings:",
            "*models.large: ANTHROPIC_API_KEY is not set: recording calls anthropic with your key",
            "*models.mistral: MISTRAL_API_KEY is not set: recording calls mistral with your key",
        ]
    )
    assert provider.asked == []


def test_no_real_key_is_sent_to_this_machine(
    run: Run, project: Callable[..., None], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in is, where the application's own client is not asked."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-real-0123456789abcdef0123456789")
    project()
    run(*RECORD).assert_outcomes(passed=1)
    assert provider.keys == {"None", "Bearer key", "sk-ant-not-a-real-key-anthropic"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--modelroute-record-all-tiers records: add --modelroute-record=new (what is missing) or =all"),
        (("--modelroute-record=new", "--modelroute-case=hello"), "records every case: leave out --modelroute-case"),
    ],
)
def test_options_that_do_not_fit_are_one_usage_error(
    run: Run, project: Callable[..., None], options: tuple[str, ...], message: str
) -> None:
    """Before anything is collected."""
    project()
    result = run("--modelroute-record-all-tiers", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{message.replace('[', '[[]')}*"])


def test_without_recorded_providers_nothing_would_be_recorded(run: Run, project: Callable[..., None]) -> None:
    """A usage error at collection."""
    project(test=TEST.replace("recorded_providers, ", ""))
    result = run(*RECORD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *none of these tests evaluates a step with recorded providers*"])


def test_without_models_nothing_would_be_recorded(run: Run, project: Callable[..., None]) -> None:
    """A usage error at collection, that says where they belong."""
    project(settings="")
    result = run(*RECORD)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *test_app.py: there are no models in its settings*models.<alias>[]]"])


def test_a_secret_in_an_output_is_not_kept(
    run: Run, project: Callable[..., None], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs go through redaction before they are cut."""
    monkeypatch.setenv("SHOP_API_KEY", "k9Jx2Lq8Zt5Vw3Rn7Yb4")
    app = APP.replace("return reply", 'return "x" * 190 + " k9Jx2Lq8Zt5Vw3Rn7Yb4" + reply')
    project(app=app, test=TEST.replace("min_accuracy=0.25", "min_accuracy=0.0"))
    run(*RECORD).assert_outcomes(passed=1)
    text = outcomes_file(pytester).read_text("utf-8")
    assert "k9Jx" not in text
    assert "output_hash" in text


def test_a_step_that_asks_no_model_has_no_outcomes(run: Run, project: Callable[..., None]) -> None:
    """It would end alike on each of them; the summary says so."""
    project(app="def classify(query): return 'fraud'\n")
    result = run(*RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*no outcomes recorded: its cases asked no model"])


def test_a_step_evaluated_twice_needs_two_names(run: Run, project: Callable[..., None]) -> None:
    """One matrix cannot hold two outcomes of a case."""
    project(test=TEST + "    evaluate_step(CASES, run=app.classify)\n")
    result = run(*RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*this test evaluates 'intent' on the case 'hello' twice; name the steps*"])


def test_tests_that_share_a_cassette_share_its_outcomes(
    run: Run, project: Callable[..., None], pytester: pytest.Pytester
) -> None:
    """Each keeps those of the other."""
    half = """
@pytest.mark.cassette("shared")
def test_NUMBER(evaluate_step, recorded_providers):
    evaluate_step(CASES[NUMBER::2], run=app.classify, step="STEP")
"""
    first, second = (half.replace("NUMBER", str(n)).replace("STEP", step) for n, step in enumerate(("intent", "other")))
    project(test=TEST.partition("@pytest")[0] + first + second)
    for test in ("test_0", "test_1", "test_0"):
        run(*RECORD, "-k", test).assert_outcomes(passed=1, deselected=1)
    matrix = read_outcomes(pytester.path / "cassettes/shared.yaml.outcomes.jsonl")
    assert [(step, len(matrix.step(step).outcomes)) for step in matrix.steps] == [("intent", 6), ("other", 6)]


def test_xdist_workers_report_the_usage_error(run: Run, project: Callable[..., None]) -> None:
    """As at collection."""
    project(settings="")
    result = run(*RECORD, "-n", "2", using=("xdist",))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*there are no models in its settings that a case could be run on*"])


def test_an_async_test_records_every_model_too(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """`await evaluate_step.aio(...)`."""
    test = TEST.replace("def test", "@pytest.mark.asyncio\nasync def test").replace(
        "evaluate_step(CASES", "await evaluate_step.aio(CASES"
    )
    project(
        app=ASYNC_APP.replace('stream=True, stream_options={{"include_usage": True}}', "").replace(
            'return "".join([chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices])',
            "return reply.choices[0].message.content",
        ),
        test=test,
    )
    run(*RECORD, "-o", "asyncio_default_fixture_loop_scope=function", using=("asyncio",)).assert_outcomes(passed=1)
    assert {model: matrix().judge(matrix().always(model)).accuracy.count for model in RIGHT} == RIGHT


BOTH_APP = (
    CLASSIFYING_APP.partition("def classify")[0]
    + """
def classify(query):
    ask("small", "pay my bill")
    return ask("small", query)
"""
)


def test_a_classifier_that_answers_too_is_sent_elsewhere_for_its_answers_alone(
    run: Run, project: Callable[..., None], provider: Provider, matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Where a case asks no other model, its last call is the answer."""
    settings = SETTINGS + '\n[steps.intent]\nmodel = "dynamic"\nclassifier = "small"\n'
    project(
        app=BOTH_APP,
        settings=settings,
        test=TEST.replace("in GOLD.items()", "in GOLD.items() if text != 'pay my bill'"),
    )
    run(*RECORD).assert_outcomes(passed=1)
    assert [model for model, prompt in provider.asked if prompt == "pay my bill"] == ["small"] * 3
    assert [matrix().judge(matrix().always(model)).accuracy.count for model in RIGHT] == [2, 2, 3]


def test_a_model_that_cannot_be_reached_from_here_is_told_apart(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Calls of AWS are signed by its own client."""
    project(settings=SETTINGS + '\n[models.nova]\nmodel = "amazon.nova-lite-v1:0"\nprovider = "aws"\n')
    run(*RECORD).assert_outcomes(passed=1)
    assert {outcome.error for outcome in matrix().outcomes if outcome.alias == "nova"} == {"unsupported"}


def test_what_the_step_raises_over_an_answer_is_an_outcome(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Its class, and what the calls have cost."""
    project(app=APP.replace("return reply", "assert reply.model != 'medium'\n        return reply"))
    run(*RECORD).assert_outcomes(passed=1)
    outcome = matrix().outcome("hello", "medium")
    assert (outcome.error, outcome.score, str(outcome.cost_usd)) == ("AssertionError", None, "0.00012")


def test_an_answer_from_a_memory_of_the_application_is_no_models(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """A case that asks nothing the second time says nothing of the target."""
    project(app=APP.replace("def classify", "from functools import cache\n\n@cache\ndef classify"))
    run(*RECORD).assert_outcomes(passed=1)
    assert {outcome.error for outcome in matrix().outcomes if outcome.alias == "large"} == {"no answer"}


def test_the_cap_of_a_session_holds_for_every_model(
    run: Run, project: Callable[..., None], provider: Provider, pytester: pytest.Pytester
) -> None:
    """The calls that were made are kept for the next run."""
    project()
    result = run(*RECORD, "--modelroute-max-usd=0.02")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was not made: it may cost*"])
    asked = len(provider.asked)
    run(*RECORD).assert_outcomes(passed=1)
    assert 4 <= asked < len(provider.asked) == 12
    assert outcomes_file(pytester).exists()


def test_a_step_is_judged_by_one_scorer(run: Run, project: Callable[..., None]) -> None:
    """Scores of two say nothing beside each other."""
    first, second = (
        "evaluate_step(CASES[:2], run=app.classify)",
        "evaluate_step(CASES[2:], app.classify, score=contains)",
    )
    test = TEST.partition("    evaluation =")[0].replace(
        "import pytest", "from pytest_modelroute import contains\nimport pytest"
    )
    project(test=test.replace("min_accuracy=0.25", "min_accuracy=0.0") + f"    {first}\n    {second}\n")
    result = run(*RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*this test evaluates 'intent' by exact_match and by contains, and outcomes are of one*"]
    )


def test_a_model_without_a_price_has_outcomes_without_cost(
    run: Run, project: Callable[..., None], matrix: Callable[[], OutcomeMatrix]
) -> None:
    """Never 0 in its place."""
    project(settings=SETTINGS.replace("input_price = 100\noutput_price = 100\n", ""))
    result = run(*RECORD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*large 1.00 right; cost unknown"])
    assert (matrix().outcome("hello", "large").cost_usd, matrix().prices["claude-large"]) == (None, None)


def test_a_client_that_cannot_be_sent_elsewhere_fails_the_test(
    run: Run, project: Callable[..., None], provider: Provider
) -> None:
    """aiohttp: its calls would be told as answers of another model. What was paid for is kept for a run without."""
    app = """
import aiohttp, rules

async def classify(query):
    body = {{"model": rules.model_for(query), "messages": [{{"role": "user", "content": query}}]}}
    async with aiohttp.ClientSession() as session, session.post("{url}/v1/chat/completions", json=body) as reply:
        return (await reply.json())["choices"][0]["message"]["content"]
"""
    project(app=app)
    result = run(*RECORD)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was sent by aiohttp: --modelroute-record-all-tiers sends the calls of httpx*"])
    assert len(provider.asked) == 4
