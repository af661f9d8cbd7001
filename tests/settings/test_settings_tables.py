"""The tables of the settings: what they may hold, and how a mistake in them reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.config import (
    STANDARD_TIERS,
    BudgetSettings,
    ModelSettings,
    Settings,
    StepSettings,
    read_settings,
)
from pytest_modelroute.errors import SettingsError

MODELS = {"small": {"model": "gpt-4.1-nano"}, "large": {"model": "gpt-4.1"}}
STEP = {"model": "small"}


def _problems(**tables: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_settings(tables, where="modelroute.toml")
    return str(caught.value).splitlines()


def _problem(**tables: Any) -> str:
    (problem,) = _problems(**tables)
    return problem.removeprefix("modelroute.toml: ")


def test_a_whole_file_is_read() -> None:
    """Every table and key, from the tables as TOML gives them."""
    tables = {
        "router": "app:make",
        "cassettes": "tapes",
        "baseline": "base.json",
        "allow_hosts": ["localhost"],
        "tiers": ["small", "big"],
        "models": {"cheap": {"model": "gpt-4.1-nano", "provider": "openai", "tier": "big", "base_url": "https://h/v1"}},
        "steps": {
            "classify": {
                "model": "dynamic",
                "task_type": "classification",
                "critical": True,
                "classifier": "cheap",
                "cascade": ["cheap"],
                "fallbacks": ["cheap"],
            }
        },
        "thresholds": {"classify": {"min_accuracy": 0.9}},
        "budget": {"daily_usd": 5, "timezone": "Europe/Berlin", "ladder": [0.6, 0.1]},
    }
    assert read_settings(tables, where="modelroute.toml") == Settings(
        router="app:make",
        cassettes="tapes",
        baseline="base.json",
        allow_hosts=("localhost",),
        tiers=("small", "big"),
        models={"cheap": ModelSettings(model="gpt-4.1-nano", provider="openai", tier="big", base_url="https://h/v1")},
        steps={
            "classify": StepSettings(
                model="dynamic",
                task_type="classification",
                critical=True,
                classifier="cheap",
                cascade=("cheap",),
                fallbacks=("cheap",),
            )
        },
        thresholds={"classify": {"min_accuracy": 0.9}},
        budget=BudgetSettings(daily_usd=5, timezone="Europe/Berlin", ladder=(0.6, 0.1)),  # type: ignore[arg-type]
    )


def test_everything_may_be_left_out() -> None:
    """An empty file has the standard tiers, and no model and no step."""
    settings = read_settings({}, where="modelroute.toml")
    assert (settings.tiers, settings.models, settings.steps) == (STANDARD_TIERS, {}, {})


@pytest.mark.parametrize(
    ("tables", "key", "nearest"),
    [
        ({"stesp": {}}, "stesp", "steps"),
        ({"models": {"small": {"model": "m", "teir": "small"}}}, "models.small.teir", "tier"),
        ({"models": MODELS, "steps": {"a": {**STEP, "fallback": []}}}, "steps.a.fallback", "fallbacks"),
        ({"budget": {"daily_usd": 1, "timezon": "UTC"}}, "budget.timezon", "timezone"),
    ],
)
def test_an_unknown_key_names_the_nearest(tables: dict[str, Any], key: str, nearest: str) -> None:
    """At any depth, by its whole path."""
    assert _problem(**tables) == f"unknown key {key!r}; did you mean {nearest!r}?"


@pytest.mark.parametrize(
    ("tables", "key", "known"),
    [
        (
            {"zzz": 1},
            "zzz",
            "router, cassettes, recording, baseline, allow_hosts, tiers, models, steps, thresholds, budget",
        ),
        (
            {"models": {"small": {"model": "m", "zzz": 1}}},
            "models.small.zzz",
            "model, provider, tier, base_url, input_price, output_price, cache_read_price, cache_write_price",
        ),
        ({"budget": {"daily_usd": 1, "zzz": 1}}, "budget.zzz", "daily_usd, timezone, ladder"),
    ],
)
def test_an_unknown_key_like_no_other_lists_what_there_is(tables: dict[str, Any], key: str, known: str) -> None:
    """Of its own table."""
    assert _problem(**tables) == f"unknown key {key!r}; known are: {known}"


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"models": {"small": {}}}, "models.small.model"),
        ({"steps": {"a": {}}}, "steps.a.model"),
        ({"budget": {}}, "budget.daily_usd"),
    ],
)
def test_a_key_that_is_missing_is_named(tables: dict[str, Any], key: str) -> None:
    """By its whole path."""
    assert _problem(**tables) == f"key {key!r} is missing"


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"router": 3}, "router: input should be a valid string, not 3"),
        ({"tiers": "small"}, "tiers: a list was expected, such as ['small'], not 'small'"),
        ({"allow_hosts": [1]}, "allow_hosts.0: input should be a valid string, not 1"),
        ({"models": 3}, "models: a table was expected, not 3"),
        ({"models": {"small": {"model": 3}}}, "models.small.model: input should be a valid string, not 3"),
        ({"models": {"small": {"model": ""}}}, "models.small.model: string should have at least 1 character, not ''"),
        (
            {"models": MODELS, "steps": {"a": {**STEP, "critical": "maybe"}}},
            "steps.a.critical: input should be a valid boolean, unable to interpret input, not 'maybe'",
        ),
        (
            {"models": MODELS, "steps": {"a": {**STEP, "fallbacks": "large"}}},
            "steps.a.fallbacks: a list was expected, such as ['large'], not 'large'",
        ),
        ({"thresholds": {"a": 3}}, "thresholds.a: a table was expected, not 3"),
        ({"budget": {"daily_usd": "five"}}, "budget.daily_usd: input should be a valid decimal, not 'five'"),
        ({"budget": {"daily_usd": -1}}, "budget.daily_usd: input should be greater than 0, not -1"),
        ({"budget": {"daily_usd": 0}}, "budget.daily_usd: input should be greater than 0, not 0"),
        ({"budget": {"daily_usd": float("nan")}}, "budget.daily_usd: input should be a finite number, not 'nan'"),
    ],
)
def test_a_value_of_the_wrong_type_says_where_and_what_was_expected(tables: dict[str, Any], problem: str) -> None:
    """The key by its whole path, and the value that stands there."""
    assert _problem(**tables) == problem


@pytest.mark.parametrize(
    ("tables", "key"), [({"models": {"small": "gpt-4.1"}}, "models.small"), ({"steps": {"a": "small"}}, "steps.a")]
)
def test_a_value_where_a_table_belongs_is_told_in_the_words_of_toml(tables: dict[str, Any], key: str) -> None:
    """Who writes TOML knows tables, not classes."""
    assert _problem(**tables).startswith(f"{key}: a table was expected, not ")


def test_a_ladder_that_is_too_short_says_how_long_it_is() -> None:
    """An element of a list is no key."""
    assert "budget.ladder: " in _problem(budget={"daily_usd": 1, "ladder": [0.5]})


def test_all_mistakes_are_told_at_once() -> None:
    """One line each, every one with the file."""
    assert _problems(stesp={}, models={"small": {"model": "m", "teir": "small"}, "large": {}}) == [
        "modelroute.toml: unknown key 'models.small.teir'; did you mean 'tier'?",
        "modelroute.toml: key 'models.large.model' is missing",
        "modelroute.toml: unknown key 'stesp'; did you mean 'steps'?",
    ]


@pytest.mark.parametrize(
    ("step", "key"),
    [
        ({"model": "smal"}, "model"),
        ({"model": "dynamic", "classifier": "smal"}, "classifier"),
        ({**STEP, "cascade": ["large", "smal"]}, "cascade"),
        ({**STEP, "fallbacks": ["smal"]}, "fallbacks"),
        ({**STEP, "judge": "smal"}, "judge"),
        ({"cascade": ["smal", "large"]}, "cascade"),
    ],
)
def test_an_alias_that_does_not_exist_names_the_nearest(step: dict[str, Any], key: str) -> None:
    """Wherever a step names a model."""
    assert _problem(models=MODELS, steps={"a": step}) == (
        f"steps.a.{key} names 'smal', which does not exist; did you mean 'small'?"
    )


def test_a_cascade_needs_no_model_of_its_own() -> None:
    """It begins with its first."""
    table = {"models": MODELS, "steps": {"a": {"cascade": ["small", "large"]}}}
    step = read_settings(table, where="modelroute.toml").steps["a"]
    assert step == StepSettings(model="small", cascade=("small", "large"))


@pytest.mark.parametrize("model", ["large", "none"])
def test_a_cascade_begins_nowhere_but_with_its_first_model(model: str) -> None:
    """Another one would be asked by nobody; a dynamic step says where it begins."""
    assert _problem(models=MODELS, steps={"a": {"model": model, "cascade": ["small", "large"]}}) == (
        f"steps.a.model is {model!r}, but its cascade begins with 'small'; leave model out"
    )


@pytest.mark.parametrize("cascade", [["large", "small"], ["small", "large", "small"], ["small", "small"]])
def test_a_cascade_climbs(cascade: list[str]) -> None:
    """Each model once, weakest first."""
    models = {alias: {**model, "tier": alias} for alias, model in MODELS.items()}
    assert _problem(models=models, steps={"a": {"cascade": cascade}}) == (
        f"steps.a.cascade: {' -> '.join(cascade)} was found; each model once, weakest first, was expected"
    )


@pytest.mark.parametrize(
    ("step", "chain", "twice"),
    [
        ({"model": "small", "fallbacks": ["small"]}, "small -> small", "small"),
        ({"model": "small", "fallbacks": ["large", "small"]}, "small -> large -> small", "small"),
        ({"model": "dynamic", "fallbacks": ["large", "large"]}, "large -> large", "large"),
    ],
    ids=["itself", "back to itself", "the same twice"],
)
def test_a_chain_that_comes_back_to_a_model_is_refused(step: dict[str, Any], chain: str, twice: str) -> None:
    """It would never end, or try in vain; told when the file is read, and not in an outage."""
    assert _problem(models=MODELS, steps={"a": step}) == (
        f"steps.a.fallbacks: the chain {chain} comes back to {twice!r}; name each candidate once"
    )


@pytest.mark.parametrize(("models", "known"), [(MODELS, "small, large"), ({}, "none")])
def test_an_alias_like_no_other_lists_what_there_is(models: dict[str, Any], known: str) -> None:
    """Also that there is none."""
    assert _problem(models=models, steps={"a": {"model": "gpt"}}) == (
        f"steps.a.model names 'gpt', which does not exist; known are: {known}"
    )


@pytest.mark.parametrize("model", ["dynamic", "none"])
def test_a_step_may_have_no_model_of_its_own(model: str) -> None:
    """A classifier chooses it, or a tool does the work."""
    assert read_settings({"steps": {"a": {"model": model}}}, where="x").steps["a"].model == model


def test_all_names_that_do_not_exist_are_told_at_once() -> None:
    """A renamed alias is dangling in many places."""
    assert len(_problems(models=MODELS, steps={"a": {"model": "smal"}, "b": {"model": "smal"}})) == 2


@pytest.mark.parametrize(
    ("tier", "hint"), [("smal", "did you mean 'small'?"), ("zzz", "known are: small, medium, large")]
)
def test_a_tier_that_does_not_exist_is_refused(tier: str, hint: str) -> None:
    """The standard ones are known without being declared."""
    assert _problem(models={"cheap": {"model": "m", "tier": tier}}) == (
        f"models.cheap.tier names {tier!r}, which does not exist; {hint}"
    )


def test_declared_tiers_take_the_place_of_the_standard_ones() -> None:
    """A project may have its own."""
    assert _problem(tiers=["one", "two"], models={"cheap": {"model": "m", "tier": "small"}}) == (
        "models.cheap.tier names 'small', which does not exist; known are: one, two"
    )


@pytest.mark.parametrize(("step", "hint"), [("clasify", "did you mean 'classify'?"), ("zzz", "known are: classify")])
def test_thresholds_of_a_step_that_is_not_declared_are_refused(step: str, hint: str) -> None:
    """They would judge nothing."""
    assert _problem(models=MODELS, steps={"classify": STEP}, thresholds={step: {"min_accuracy": 0.9}}) == (
        f"thresholds.{step} is for the step {step!r}, which does not exist; {hint}"
    )


def test_without_declared_steps_any_step_may_have_thresholds() -> None:
    """A file with limits alone is fine."""
    assert read_settings({"thresholds": {"any": {"min_accuracy": 0.9}}}, where="x").threshold("any") is not None


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"min_acuracy": 0.9}, "unknown limit 'min_acuracy'; did you mean 'min_accuracy'?"),
        ({"min_accuracy": 90}, "min_accuracy=90 is impossible: a share lies between 0 and 1; 90% is 0.9"),
        ({"max_latency_ms": 0}, "max_latency_ms=0 is impossible: no call takes 0 ms"),
        ({"min_accuracy": "high"}, "min_accuracy='high' is not a number"),
        ({"min_f1": 0.9, "confidence": 95}, "confidence=95 is not between 0 and 1, such as 0.95"),
    ],
)
def test_a_threshold_that_cannot_be_judged_is_refused(limits: dict[str, Any], problem: str) -> None:
    """When the file is read, and not when the step is evaluated."""
    assert _problem(thresholds={"a": limits}) == f"thresholds.a: {problem}"


def test_a_table_of_thresholds_without_a_limit_is_refused() -> None:
    """It would pass whatever happens."""
    assert _problem(thresholds={"a": {}}).startswith("thresholds.a has no limit, so it would pass whatever happens; ")


def test_the_threshold_of_a_step_is_read() -> None:
    """Limits and options."""
    threshold = Settings(thresholds={"a": {"min_f1": 0.9, "positive": "fraud", "confidence": 0.9}}).threshold("a")
    assert threshold is not None
    assert (threshold.step, threshold.limits, threshold.positive, threshold.confidence) == (
        "a",
        {"min_f1": 0.9},
        "fraud",
        0.9,
    )


def test_a_step_without_limits_has_no_threshold() -> None:
    """Nothing judges it."""
    assert Settings().threshold("a") is None


def test_settings_cannot_be_changed() -> None:
    """They are shared by all tests of a folder."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().router = "app:make"


@pytest.mark.parametrize("value", [3, []])
def test_settings_that_are_no_table_are_refused(value: Any) -> None:
    """[tool] modelroute = 3 is told with its file."""
    with pytest.raises(SettingsError, match=r"^pyproject\.toml: "):
        read_settings(value, where=Path("pyproject.toml"))


def test_two_aliases_of_one_model_share_their_tier() -> None:
    """A call names its model, and no alias."""
    models = {"a": {"model": "m", "tier": "small"}, "b": {"model": "m", "tier": "large"}}
    assert _problem(models=models) == (
        "models.b: 'm' has the tier 'large' here and 'small' in models.a; "
        "calls are told apart by the model's name on the wire, so it has one tier"
    )


def test_a_tier_that_is_repeated_is_refused() -> None:
    """An order has each tier once."""
    assert _problem(tiers=["one", "two", "one"]) == "tiers: at least one tier was expected, and none of them twice"


@pytest.mark.parametrize("zone", ["Europe/Zurish", "../etc/passwd", ""])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    """Found when the file is read, and not at midnight."""
    assert _problem(budget={"daily_usd": 1, "timezone": zone}) == (
        f"budget.timezone: there is no time zone {zone!r}; a name such as Europe/Zurich was expected"
    )


@pytest.mark.parametrize("host", ["https://api.example.com", "api.example.com/v1", "*.example.com"])
def test_a_host_to_allow_is_an_exact_name(host: str) -> None:
    """A URL or a pattern would allow nothing."""
    assert _problem(allow_hosts=[host]) == (
        f"allow_hosts: {host!r} is not the exact name of a host, such as api.example.com"
    )


def test_a_misspelt_provider_names_the_nearest() -> None:
    """Its calls would be priced and sent as nobody's."""
    assert _problem(models={"a": {"model": "m", "provider": "antropic"}}) == (
        "models.a.provider is 'antropic'; did you mean 'anthropic'? Else give it a base_url"
    )


def test_a_provider_of_nearly_the_same_name_may_have_an_address_of_its_own() -> None:
    """A base_url says that the name is meant."""
    models = {"a": {"model": "m", "provider": "openai2", "base_url": "https://h.example/v1"}}
    assert read_settings({"models": models}, where="x").models["a"].provider == "openai2"
