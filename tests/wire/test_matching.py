"""Which script answers which call."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from respx import MockRouter

from pytest_modelroute import CallLog, MockProviders, Usage
from pytest_modelroute.errors import ScriptError, UnscriptedCall
from pytest_modelroute.faults import rate_limit
from pytest_modelroute.testrun import TestRun

Ask = Callable[..., httpx.Response]
NewRun = Callable[[], TestRun]

MODELS = st.lists(st.sampled_from([f"model-{number}" for number in range(30)]), min_size=1, unique=True)


def text_of(response: httpx.Response) -> str:
    """The text that a reply in OpenAI's format holds."""
    return str(response.json()["choices"][0]["message"]["content"])


@settings(deadline=None, max_examples=40)
@given(models=MODELS, data=st.data())
def test_scripts_keyed_by_model_answer_their_own_calls(
    ask: Ask, new_run: NewRun, models: list[str], data: st.DataObject
) -> None:
    """However many models are scripted, and in whatever order they are called, each is answered by its own script."""
    called = data.draw(st.permutations(models))
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        for model in models:
            scripts.on(model=model).replies(f"I am {model}")
        assert [text_of(ask(model)) for model in called] == [f"I am {model}" for model in called]


@settings(deadline=None, max_examples=40)
@given(keyed=st.lists(st.booleans(), min_size=1, max_size=8))
def test_the_first_script_made_answers_first(ask: Ask, new_run: NewRun, keyed: list[bool]) -> None:
    """Scripts with and without a model are used in the order of their making."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        for number, by_model in enumerate(keyed):
            scripts.on(model="m" if by_model else None).replies([str(number)])
        assert [text_of(ask("m")) for _ in keyed] == [str(number) for number in range(len(keyed))]


def test_several_models_share_a_script(ask: Ask, mock_providers: MockProviders) -> None:
    """A script for several models answers each of them."""
    mock_providers.on(model=["a", "b"]).replies(["first", "second"])
    assert [text_of(ask("b")), text_of(ask("a"))] == ["first", "second"]


def test_a_model_named_twice_is_one_model(ask: Ask, mock_providers: MockProviders) -> None:
    """A model that is repeated in a list counts once, also when its script is used up."""
    mock_providers.on(model=["a", "a"]).replies(["first"])
    mock_providers.on(model="a").replies("second")
    assert [text_of(ask("a")), text_of(ask("a"))] == ["first", "second"]


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("api.groq.com", "groq"),
        ("mine.openai.azure.com", "azure"),
        ("gateway.example", "openai"),
    ],
)
def test_the_provider_is_known_by_its_host(ask: Ask, mock_providers: MockProviders, host: str, provider: str) -> None:
    """A condition on the provider is met by its host; a host that is not known is taken for the format's owner."""
    mock_providers.on(provider=provider).replies("mine")
    assert text_of(ask(host=host)) == "mine"


def test_another_provider_goes_to_the_next_script(ask: Ask, mock_providers: MockProviders) -> None:
    """A call of another provider is left to a later script."""
    mock_providers.on(provider="groq", optional=True).replies("groq")
    mock_providers.on().replies("anyone")
    assert text_of(ask()) == "anyone"


def test_the_step_is_known_by_its_label(ask: Ask, mock_providers: MockProviders) -> None:
    """A condition on the step is met inside its label only."""
    mock_providers.on(step="classify").replies("inside")
    mock_providers.on().replies("outside")
    with mock_providers.calls.label(step="classify"):
        inside = text_of(ask())
    assert (inside, text_of(ask())) == ("inside", "outside")


def test_a_predicate_sees_the_call(ask: Ask, mock_providers: MockProviders) -> None:
    """A predicate decides by what was sent."""
    mock_providers.on(when=lambda call: call.params.get("temperature") == 0).replies("cold")
    mock_providers.on().replies("warm")
    assert [text_of(ask(temperature=0)), text_of(ask(temperature=1))] == ["cold", "warm"]


def test_a_predicate_may_ask_the_log(ask: Ask, mock_providers: MockProviders) -> None:
    """A predicate can look at the calls so far, its own included."""
    mock_providers.on(when=lambda _call: len(mock_providers.calls) > 1).replies("later")
    mock_providers.on().replies(["first"])
    assert [text_of(ask()), text_of(ask())] == ["first", "later"]


def test_all_conditions_must_be_met(ask: Ask, mock_providers: MockProviders) -> None:
    """A call that meets all conditions but one is left to a later script."""
    mock_providers.on(model="a", provider="openai", step="s", when=lambda _call: True, optional=True).replies("all")
    mock_providers.on().replies("rest")
    assert text_of(ask("a")) == "rest"


def test_a_used_up_script_makes_way(ask: Ask, mock_providers: MockProviders) -> None:
    """When a script is used up, the next one that matches answers."""
    mock_providers.on(model="a").fails(rate_limit(), times=1)
    mock_providers.on(model="a").replies("again")
    assert [ask("a").status_code, ask("a").status_code] == [429, 200]


def test_otherwise_answers_the_rest(ask: Ask, mock_providers: MockProviders) -> None:
    """The default answers what no script answers, and stands behind them all."""
    mock_providers.otherwise("default")
    mock_providers.on(model="a").replies("mine")
    assert [text_of(ask("a")), text_of(ask("b"))] == ["mine", "default"]


def test_otherwise_is_named_in_the_log(ask: Ask, mock_providers: MockProviders) -> None:
    """A call that the default answered says so."""
    mock_providers.otherwise("default")
    ask()
    assert mock_providers.calls[0].answered_by == "otherwise"


def test_otherwise_may_stay_unused(mock_providers: MockProviders) -> None:
    """A default is no expectation."""
    mock_providers.otherwise("default")
    assert mock_providers.leftovers() is None


def test_otherwise_takes_a_list(ask: Ask, new_run: NewRun) -> None:
    """A list given to the default is used entry by entry, as in replies."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise(["first", "second"])
        assert [text_of(ask()), text_of(ask())] == ["first", "second"]


def test_a_used_up_default_leaves_a_call_unscripted(ask: Ask, new_run: NewRun) -> None:
    """When the list of the default is used up, a further call has no script."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise(["only"])
        ask()
        with pytest.raises(UnscriptedCall):
            ask()


def test_a_used_up_script_can_be_gone_on_with(ask: Ask, new_run: NewRun) -> None:
    """A stage that is added when the earlier ones are used up answers the calls that follow."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        script = scripts.on(model="a").replies(["first"])
        ask("a")
        script.then.replies("second")
        assert text_of(ask("a")) == "second"


def test_a_partial_run_may_leave_scripts_unused() -> None:
    """Where only one case is rerun, the scripts of the others are not missed."""
    scripts = MockProviders(CallLog(), http=MockRouter(), partial=True)
    scripts.on(model="a").replies("ok")
    assert scripts.leftovers() is None


def test_threads_share_a_list_without_loss(ask: Ask, mock_providers: MockProviders) -> None:
    """Calls from several threads use each entry of a list once."""
    entries = [str(number) for number in range(40)]
    mock_providers.on().replies(entries)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _number: text_of(ask()), range(40)))
    assert sorted(answers, key=int) == entries


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({}, {"model": "a"}),
        ({"model": "a"}, {"model": "a"}),
        ({"model": ["a", "b"]}, {"model": "a"}),
        ({"model": "a"}, {"model": "a", "step": "s"}),
        ({"provider": "groq"}, {"provider": "groq", "model": "a"}),
        ({"step": "s"}, {"step": "s", "when": bool}),
    ],
)
def test_a_script_behind_an_endless_one_is_refused(
    mock_providers: MockProviders, earlier: dict[str, object], later: dict[str, object]
) -> None:
    """A script whose calls all go to an earlier, endless script can never match, and is refused."""
    mock_providers.on(**earlier, optional=True).replies("all")  # type: ignore[arg-type]
    with pytest.raises(ScriptError, match="can never match: an earlier script answers all such calls, for ever"):
        mock_providers.on(**later, optional=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"model": "a"}, {}),
        ({"model": "a"}, {"model": ["a", "b"]}),
        ({"model": "a", "step": "s"}, {"model": "a"}),
        ({"provider": "groq"}, {"provider": "openai"}),
        ({"model": "a", "when": bool}, {"model": "a"}),
    ],
)
def test_a_wider_script_behind_a_narrower_one_is_fine(
    mock_providers: MockProviders, earlier: dict[str, object], later: dict[str, object]
) -> None:
    """A script that also takes calls which the earlier one does not take can be made."""
    mock_providers.on(**earlier, optional=True).replies("some")  # type: ignore[arg-type]
    script = mock_providers.on(**later, optional=True)  # type: ignore[arg-type]
    assert script.number == 2


def test_a_script_behind_one_that_ends_is_fine(mock_providers: MockProviders) -> None:
    """A script that is used up hides nothing."""
    mock_providers.on(model="a", optional=True).fails(rate_limit(), times=1)
    assert mock_providers.on(model="a", optional=True).number == 2


@pytest.mark.parametrize(
    ("provider", "hint"), [("opnai", "did you mean 'openai'"), ("zzz", "known are: anthropic, aws, azure")]
)
def test_an_unknown_provider_is_refused(mock_providers: MockProviders, provider: str, hint: str) -> None:
    """A provider that does not exist is refused with the nearest name, or all of them."""
    with pytest.raises(ScriptError, match=rf"can never match: there is no provider '{provider}'; {hint}"):
        mock_providers.on(provider=provider)


def test_any_step_may_be_named_where_none_is_declared(mock_providers: MockProviders) -> None:
    """Without declared steps, a step is any word."""
    assert mock_providers.on(step="whatever", optional=True).number == 1


SETTINGS = """
[models.small]
model = "gpt-4.1-nano"
provider = "acme"
base_url = "https://llm.acme.example/v1"

[steps.classify]
model = "small"
"""


def test_an_alias_stands_for_its_model(run: Callable[..., pytest.RunResult]) -> None:
    """A script for an alias of the settings answers the model that goes over the wire."""
    source = (
        "def test_it(mock_providers):\n    mock_providers.on(model='small').replies('ok')\n    ask('gpt-4.1-nano')\n"
    )
    run(source, settings=SETTINGS).assert_outcomes(passed=1)


def test_a_provider_of_the_settings_is_known_by_its_host(run: Callable[..., pytest.RunResult]) -> None:
    """A provider with an address of its own in the settings is matched by that host."""
    source = (
        "def test_it(mock_providers):\n"
        "    mock_providers.on(provider='acme').replies('ok')\n"
        "    httpx.post('https://llm.acme.example/v1/chat/completions', json={'model': 'm', 'messages': []})\n"
    )
    run(source, settings=SETTINGS).assert_outcomes(passed=1)


def test_a_step_that_is_not_declared_is_refused(run: Callable[..., pytest.RunResult]) -> None:
    """Where steps are declared, a condition on any other step is refused with the nearest name."""
    source = "def test_it(mock_providers):\n    mock_providers.on(step='clasify')\n"
    result = run(source, settings=SETTINGS)
    result.stdout.fnmatch_lines(
        ["*on(step='clasify') can never match: there is no step 'clasify'; did you mean 'classify'? (test_it.py:*"]
    )


def test_a_script_for_two_models_that_two_others_hide_is_refused(mock_providers: MockProviders) -> None:
    """Each of its models is answered for ever by an earlier script."""
    mock_providers.on(model="a", optional=True).replies("1")
    mock_providers.on(model="b", optional=True).replies("2")
    with pytest.raises(ScriptError, match="can never match"):
        mock_providers.on(model=["a", "b"])


def test_a_script_for_two_models_of_which_one_is_hidden_may_match(ask: Ask, mock_providers: MockProviders) -> None:
    """The other model is its own."""
    mock_providers.on(model="a", optional=True).replies("1")
    mock_providers.on(model=["a", "b"]).replies("2")
    assert text_of(ask("b")) == "2"


def test_a_script_that_is_completed_later_hides_those_after_it(mock_providers: MockProviders) -> None:
    """What counts is when its endless stage is given, and not what was begun in between."""
    early = mock_providers.on(model="a", optional=True)
    mock_providers.on(model="b", optional=True).replies("2")
    early.replies("1")
    with pytest.raises(ScriptError, match="can never match"):
        mock_providers.on(model="a")


def test_otherwise_takes_the_options_of_replies(ask: Ask, mock_providers: MockProviders) -> None:
    """The default can say what it costs and as which model it answers."""
    mock_providers.otherwise("default", usage={"fresh_input": 7}, model="gpt-4.1-2025", latency=2)
    ask("gpt-4.1")
    call = mock_providers.calls[0]
    assert (call.usage, call.model_answered, call.latency_s) == (Usage(fresh_input=7), "gpt-4.1-2025", 2.0)
