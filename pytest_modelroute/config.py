"""
Settings: the tables [tool.modelroute] of pyproject.toml, or the same tables without the prefix in modelroute.toml.

The same models serve from code: `Settings(models={...}, steps={...})`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from pytest_modelroute.errors import SettingsError, ThresholdError
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.providers.registry import PROVIDERS
from pytest_modelroute.step_models import wrong_cascade, wrong_chain, wrong_speculation
from pytest_modelroute.tables import read_table, unless_known

STANDARD_TIERS = ("small", "medium", "large")
_RESERVED = ("dynamic", "none")
_MAKERS = {"claude": "anthropic", "gemini-": "google"}


def _exact(value: object) -> object:
    # TOML gives floats: 0.1 must become Decimal("0.1"), not its binary neighbour.
    return str(value) if isinstance(value, float) else value


Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, allow_inf_nan=False)]
Share = Annotated[Decimal, BeforeValidator(_exact), Field(allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(_Table):
    """One model under the alias that steps call it by."""

    model: str = Field(min_length=1)
    "As asked for on the wire."
    provider: str | None = None
    "Such as openai; needed for a model that a provider other than its maker serves."
    tier: str | None = None
    "small, medium or large, or one of `tiers`."
    base_url: str | None = None
    "Where it is served, if not at its provider's own address."
    input_price: Usd | None = None
    "USD per million input tokens; genai-prices' where left out."
    output_price: Usd | None = None
    "USD per million output tokens."
    cache_read_price: Usd | None = None
    cache_write_price: Usd | None = None

    @model_validator(mode="after")
    def _prices_are_complete(self) -> Self:
        prices = (self.input_price, self.output_price)
        given = any(price is not None for price in (*prices, self.cache_read_price, self.cache_write_price))
        if given and None in prices:
            raise ValueError("input_price and output_price belong together")
        return self

    @property
    def price(self) -> Price | None:
        """The price given here, or None."""
        if self.input_price is None or self.output_price is None:
            return None
        return Price(
            input=self.input_price,
            output=self.output_price,
            cache_read=self.cache_read_price,
            cache_write=self.cache_write_price,
        )

    @property
    def provider_name(self) -> str:
        """The provider: as given, else by the name of the model, else openai, whose format most others speak."""
        made_by = (maker for start, maker in _MAKERS.items() if self.model.startswith(start))
        return self.provider or next(made_by, "openai")


class StepSettings(_Table):
    """One step of the application."""

    model: str
    "An alias, `dynamic` for a step whose model a classifier chooses, `none` for a tool step; a cascade's first model."
    task_type: str | None = None
    critical: bool = False
    "Whether the step keeps its model whatever remains of the budget."
    classifier: str | None = None
    "The alias of the model that classifies the requests of a dynamic step."
    cascade: tuple[str, ...] = ()
    "The aliases that are asked one after another until an answer is good enough, weakest first."
    judge: str | None = None
    "The alias of the model that judges the answers of the cascade, where no gate is given in code."
    fallbacks: tuple[str, ...] = ()
    "The aliases that are tried after the step's own model, in this order, each once."
    speculate: tuple[str, ...] | None = None
    "The aliases that are asked at once, or each after `hedge_after`; the step's own model first."
    hedge_after: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    "Seconds without an answer after which the next of `speculate` is asked too; 0 for all at once."

    @model_validator(mode="before")
    @classmethod
    def _a_cascade_has_a_first_model(cls, table: Any) -> Any:
        cascade: Any = table.get("cascade") if hasattr(table, "get") else None
        return {"model": cascade[0], **table} if cascade and type(cascade) in (list, tuple) else table


class BudgetSettings(_Table):
    """The daily budget."""

    daily_usd: Usd = Field(gt=0)
    timezone: str = "UTC"
    "Where the day begins at midnight."
    ladder: tuple[Share, Share] = (Decimal("0.5"), Decimal("0.2"))
    "Shares of the budget that remain: at or below the first medium goes to small, at or below the second all does."

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {name!r}; a name such as Europe/Zurich was expected") from None
        return name

    @field_validator("ladder")
    @classmethod
    def _ladder_falls(cls, ladder: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
        if not 1 >= ladder[0] >= ladder[1] >= 0:
            raise ValueError("not falling")
        return ladder


class RecordingSettings(_Table):
    """How calls are recorded, matched and kept free of secrets."""

    ignore_paths: tuple[str, ...] = ()
    "JSON paths of request bodies that change from run to run, and do not tell requests apart: $.user, $.metadata.*"
    ignore_query: tuple[str, ...] = ()
    "Names of query parameters that do not tell requests apart."
    errors: bool = False
    "Whether replies other than 2xx are saved too."
    keep_headers: tuple[str, ...] = ()
    "Names of headers that are kept beyond those that clients need."
    patterns: tuple[str, ...] = ()
    "Regular expressions of further secrets."
    redact: str | None = None
    "package.module:function, which is given every text that would be saved and returns it without secrets."
    max_age_days: int = Field(default=180, ge=1)
    "From which age on a recording is stale."
    stale: Literal["report", "fail"] = "report"
    "What a stale recording does: it is reported at the end of the run, or fails the test that replays it."

    @field_validator("patterns")
    @classmethod
    def _patterns_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns


class Settings(_Table):
    """Everything that may be set; every part is optional."""

    router: str | None = None
    "package.module:factory of the router under test."
    cassettes: str = "cassettes"
    "The folder of recordings, beside the settings file."
    recording: RecordingSettings = Field(default_factory=RecordingSettings)
    baseline: str = "modelroute-baseline.json"
    allow_hosts: tuple[str, ...] = ()
    "Exact names of hosts that tests with scripted providers may reach."
    tiers: tuple[str, ...] = STANDARD_TIERS
    "The tiers, weakest first."
    models: Mapping[str, ModelSettings] = Field(default_factory=dict[str, ModelSettings])
    steps: Mapping[str, StepSettings] = Field(default_factory=dict[str, StepSettings])
    thresholds: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict[str, Mapping[str, Any]])
    budget: BudgetSettings | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [*self._wrong_models(), *self._wrong_steps(), *self._wrong_thresholds()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _wrong_models(self) -> Iterator[str]:
        if not self.tiers or len(set(self.tiers)) < len(self.tiers):
            yield "tiers: at least one tier was expected, and none of them twice"
        for host in self.allow_hosts:
            if set(host) & set("/*"):
                yield f"allow_hosts: {host!r} is not the exact name of a host, such as api.example.com"
        for alias, model in self.models.items():
            if alias in _RESERVED:
                yield f"models.{alias}: {alias!r} says in a step that it has no model of its own; use another alias"
            if model.tier is not None:
                yield from unless_known(model.tier, self.tiers, f"models.{alias}.tier names")
            yield from self._wrong_twins(alias, model)
            nearest = get_close_matches(model.provider or "", PROVIDERS, n=1, cutoff=0.8)
            if model.base_url is None and nearest and model.provider not in PROVIDERS:
                meant = f"did you mean {nearest[0]!r}? Else give it a base_url"
                yield f"models.{alias}.provider is {model.provider!r}; {meant}"

    def _wrong_twins(self, alias: str, model: ModelSettings) -> Iterator[str]:
        """On the wire a model is known by its name, so two aliases of one model cannot differ in tier."""
        first = next(name for name, other in self.models.items() if other.model == model.model)
        if self.models[first].tier != model.tier:
            yield (
                f"models.{alias}: {model.model!r} has the tier {model.tier!r} here and {self.models[first].tier!r} in "
                f"models.{first}; calls are told apart by the model's name on the wire, so it has one tier"
            )

    def _wrong_steps(self) -> Iterator[str]:
        for name, step in self.steps.items():
            models = () if step.model in (*_RESERVED, *step.cascade) else (step.model,)
            helpers = {"classifier": step.classifier, "judge": step.judge}
            named = {"model": models, **helpers, "cascade": step.cascade, "fallbacks": step.fallbacks}
            named["speculate"] = step.speculate
            for key, aliases in named.items():
                for alias in (aliases,) if isinstance(aliases, str) else aliases or ():
                    yield from unless_known(alias, self.models, f"steps.{name}.{key} names")
            if step.cascade and self.models.keys() >= {*step.cascade}:
                tiers = (self.models[alias].tier for alias in step.cascade)
                ranks = [self.tiers.index(tier) for tier in tiers if tier in self.tiers]
                yield from wrong_cascade(f"steps.{name}", model=step.model, cascade=step.cascade, ranks=ranks)
            yield from wrong_chain(f"steps.{name}", (*models, *step.fallbacks))
            ways = step.model_dump(include={"model", "speculate", "hedge_after", "cascade", "fallbacks"})
            yield from wrong_speculation(f"steps.{name}", **ways)

    def _wrong_thresholds(self) -> Iterator[str]:
        for name, table in self.thresholds.items():
            if self.steps:
                yield from unless_known(name, self.steps, f"thresholds.{name} is for the step")
            try:
                StepThreshold.from_table(name, table, where=f"thresholds.{name}")
            except ThresholdError as error:
                yield str(error)

    @classmethod
    def from_file(cls, path: str | Path) -> Settings:
        """
        Read a modelroute.toml, or a pyproject.toml with [tool.modelroute].

        Raises:
            SettingsError: No such file, or it cannot be used.

        """
        return read_settings(read_table(Path(path)) or {}, where=path)

    def model(self, alias: str) -> ModelSettings:
        """
        The model behind an alias.

        Raises:
            SettingsError: There is none.

        """
        if alias not in self.models:
            known = ", ".join(self.models) or "none"
            raise SettingsError(f"there is no model {alias!r} in the settings; known are: {known}")
        return self.models[alias]

    def prices(self) -> PriceBook:
        """The prices given here, before those of genai-prices."""
        priced = [(model, model.price) for model in self.models.values() if model.price is not None]
        return PriceBook(
            own={model.model: price for model, price in priced if model.provider is None},
            by_provider={(model.provider_name, model.model): price for model, price in priced},
            aliases={model.model: alias for alias, model in self.models.items()},
        )

    def routes(self) -> Routes:
        """Which names a model goes by."""
        aliases: dict[str, list[str]] = {}
        for alias, model in self.models.items():
            aliases.setdefault(model.model, []).append(alias)
        helpers = (
            alias for step in self.steps.values() for alias in (step.classifier, step.judge) if alias is not None
        )
        return Routes(
            aliases=aliases,
            tiers={model.model: model.tier for model in self.models.values() if model.tier is not None},
            order=self.tiers,
            helpers=frozenset(self.models[alias].model for alias in helpers),
        )

    def answering_models(self) -> dict[str, ModelSettings]:
        """
        Alias -> model, of those that answer requests, each model once.

        One that classifies them is none of these, unless it has a tier or is a step's own: then it answers as well.
        """
        named = {
            alias
            for step in self.steps.values()
            for alias in (step.model, *step.cascade, *step.fallbacks, *(step.speculate or ()))
        }
        helpers = self.routes().helpers
        found: dict[str, tuple[str, ModelSettings]] = {}
        for alias, model in self.models.items():
            if model.model not in helpers or model.tier is not None or alias in named:
                found.setdefault(model.model, (alias, model))
        return dict(found.values())

    def models_of(self, name: str) -> tuple[str, ...]:
        """The model on the wire behind an alias; any other name stands for itself."""
        return (self.models[name].model,) if name in self.models else (name,)

    def threshold(self, step: str) -> StepThreshold | None:
        """The limits of a step, or None."""
        table = self.thresholds.get(step)
        return None if table is None else StepThreshold.from_table(step, table, where=f"thresholds.{step}")

    def provider_hosts(self) -> list[tuple[str, str]]:
        """(host, provider) for the models that are served at an address of their own."""
        return [
            (host, model.provider)
            for model in self.models.values()
            if model.provider is not None and (host := _host(model.base_url)) is not None
        ]

    def providers(self) -> set[str]:
        """The providers named here."""
        return {model.provider for model in self.models.values() if model.provider is not None} | set(PROVIDERS)


def read_settings(table: Mapping[str, Any], *, where: str | Path) -> Settings:
    """
    Validate the tables of a file.

    Raises:
        SettingsError: An unknown key, a wrong type, a dangling name: all of them, each with the nearest valid name.

    """
    prefix = "tool.modelroute." if Path(where).name == "pyproject.toml" else ""
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        problems = [line for problem in error.errors() for line in _describe(problem, prefix)]
        raise SettingsError("\n".join(dict.fromkeys(f"{where}: {problem}" for problem in problems))) from None


def _describe(problem: Any, prefix: str) -> list[str]:
    """What pydantic found, in our words: one line, or one for each name that does not exist."""
    location = [str(part) for part in problem["loc"]]
    key = prefix + ".".join(location)
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    if location[:2] == ["budget", "ladder"]:
        return [f"{prefix}budget.ladder: two shares of the budget, falling, such as [0.5, 0.2], were expected"]
    if kind == "extra_forbidden":
        known = list(_fields_at(location[:-1]))
        nearest = get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(known)}"
        return [f"unknown key {key!r}; {hint}"]
    if kind == "value_error":
        return [f"{key}: {message}" if location else f"{prefix}{line}" for line in message.split("\n")]
    if kind == "missing":
        return [f"key {key!r} is missing"]
    given = problem["input"]
    expected = (
        f"a list was expected, such as [{given!r}]" if kind in _LIST_TYPES else f"{message[0].lower()}{message[1:]}"
    )
    expected = "a table was expected" if kind in _TABLE_TYPES else expected
    return [f"{key}: {expected}, not {given!r}"]


_LIST_TYPES = ("tuple_type", "list_type")
_TABLE_TYPES = ("model_type", "model_attributes_type", "mapping_type", "dict_type")


def _fields_at(location: list[str]) -> Iterable[str]:
    tables: dict[str, type[BaseModel]] = {
        "models": ModelSettings,
        "steps": StepSettings,
        "budget": BudgetSettings,
        "recording": RecordingSettings,
    }
    table = tables.get(location[0], Settings) if location else Settings
    return table.model_fields


def _host(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    return urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname
