"""`modelroute cassettes drift`: from options to live calls, and from what they said to lines."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

from pytest_modelroute.cli.projects import Project, Projects, import_from

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from decimal import Decimal
    from pathlib import Path

    from pytest_modelroute.cassettes.drift import Chosen, Repeatable, Repeated
    from pytest_modelroute.cli.parser import Tell
    from pytest_modelroute.config import Settings
    from pytest_modelroute.evaluation.scorers import Scorer
    from pytest_modelroute.report.drift import Compared, ModelDrift
    from pytest_modelroute.report.drift_limits import LimitSaid, RoutesMoved, StepKnown

_FOUND = 1


def show_drift(options: Namespace, tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes drift`: 1 where something has changed, or could not be asked."""
    from pytest_modelroute.cassettes.drift import choose, estimate
    from pytest_modelroute.cassettes.files import read_cassette
    from pytest_modelroute.evaluation.scorers import scorer_name
    from pytest_modelroute.report.drift import Drift, by_model, drift_json, drift_lines, estimate_line

    project, paths = _one_project(Projects(options.config).cassettes(options.paths))
    settings = project.settings
    score = scorer_named(options.score, project.home)
    chosen = choose(map(read_cassette, paths), hosts=settings.provider_hosts(), sample=options.sample)
    _check_chosen(chosen)
    for each in chosen.calls:  # before anything is paid for
        is_equal(score, each.call.text, each.call.text)
    expected = estimate(chosen.calls, settings.prices())
    tell(estimate_line(chosen, expected))
    _check_cap(options.max_usd, expected.expected, expected.unpriced)
    done = _repeat(chosen.calls, project, options, tell)
    models = by_model(_compared(each, score, project.redactor.text) for each in done)
    routes, limits = _judge(settings, models)
    drift = Drift(
        models=tuple(models),
        chosen=chosen,
        scorer=scorer_name(score),
        not_made=len(chosen.calls) - len(done),
        routes=tuple(routes),
        limits=tuple(limits),
        without_settings=not project.has_settings,
    )
    lines = [json.dumps(drift_json(drift), indent=2, ensure_ascii=False)] if options.json else drift_lines(drift)
    return lines, _FOUND if drift.found else 0


def scorer_named(text: str, home: Path) -> Scorer:
    """
    The scorer of `--score`.

    Raises:
        ScoreError: There is none of this name, or it cannot score.

    """
    from pytest_modelroute.errors import ScoreError
    from pytest_modelroute.evaluation import scorers

    known: dict[str, Scorer] = {
        "exact_match": scorers.exact_match,
        "contains": scorers.contains,
        "json_equal": scorers.json_equal,
        "numeric": scorers.numeric(),
    }
    if text in known:
        return known[text]
    module, separator, name = text.partition(":")
    if module == "numeric":
        try:
            return scorers.numeric(float(name))
        except ValueError:
            raise ScoreError(f"--score {text}: a tolerance was expected, such as numeric:0.01") from None
    expected = f"{', '.join(known)}, numeric:TOLERANCE or package.module:function was expected"
    if not separator:
        raise ScoreError(f"--score {text}: {expected}")
    import_from(home)
    try:
        found: object = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ScoreError(f"--score {text}: {error}; {expected}") from None
    scorers.check_scorer(found)
    return cast("Scorer", found)


def is_equal(score: Scorer, live: str, recorded: str) -> bool:
    """
    Whether a live reply passes for the recorded one.

    Raises:
        ScoreError: The scorer cannot say.

    """
    from pytest_modelroute.errors import ScoreError
    from pytest_modelroute.evaluation.scorers import pass_mark, read_score, scorer_name

    try:
        return read_score(score, live, recorded) >= pass_mark(score)
    except ScoreError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the user's
        raise ScoreError(f"the scorer {scorer_name(score)} raised {type(error).__name__}: {error}") from None


def _one_project(chosen: Sequence[tuple[Project, Path]]) -> tuple[Project, list[Path]]:
    from pytest_modelroute.errors import CassetteError

    homes = list(dict.fromkeys(str(project.home) for project, _ in chosen))
    if len(homes) > 1:
        raise CassetteError(
            f"these cassettes belong to different settings, of {' and of '.join(homes)}; ask for those of one at a time"
        )
    return chosen[0][0], [path for _, path in chosen]


def _check_chosen(chosen: Chosen) -> None:
    from pytest_modelroute.errors import RecordingError

    if not chosen.calls:
        reasons = "\n".join(f"  {number}: {reason}" for reason, number in chosen.skipped.items())
        raise RecordingError(f"no recorded call can be made again:\n{reasons or '  the cassettes are empty'}")


def _check_cap(cap: Decimal | None, expected: Decimal, unpriced: Sequence[str]) -> None:
    from pytest_modelroute.errors import RecordingError
    from pytest_modelroute.report.numbers import show_usd

    if cap is None:
        return
    if unpriced:
        raise RecordingError(
            f"nothing was asked: --max-usd cannot count {', '.join(unpriced)}, which "
            f"{'has' if len(unpriced) == 1 else 'have'} no price; price it in the settings, or leave --max-usd out"
        )
    if expected > cap:
        raise RecordingError(
            f"nothing was asked: it may cost {show_usd(expected)} USD, more than --max-usd {show_usd(cap)}; "
            "ask for fewer calls with --sample N, or raise it"
        )


def _repeat(calls: Sequence[Repeatable], project: Project, options: Namespace, tell: Tell) -> list[Repeated]:
    from uuid import uuid4

    from pytest_modelroute.cassettes.drift import Repeater
    from pytest_modelroute.cassettes.spending import Purse

    purse = None
    if options.max_usd is not None:
        purse = Purse(project.state, f"drift-{uuid4().hex}", options.max_usd)
    repeater = Repeater(prices=project.settings.prices(), purse=purse, timeout_s=options.timeout)
    try:
        return repeater.repeat(calls, concurrency=options.concurrency, told=_progress(len(calls), tell))
    finally:
        if purse is not None:
            purse.path.unlink(missing_ok=True)


def _progress(total: int, tell: Tell) -> Callable[[int], None]:
    """A line each tenth of the calls, for people who wait."""
    step = max(1, total // 10)

    def told(done: int) -> None:
        if sys.stderr.isatty() and (done % step == 0 or done == total):
            tell(f"{done}/{total} calls")

    return told


def _compared(repeated: Repeated, score: Scorer, redact: Callable[[str], str]) -> Compared:
    from pytest_modelroute.report.drift import Compared

    call = repeated.of.call
    return Compared(
        repeated=repeated,
        equal=None if repeated.error is not None else is_equal(score, repeated.text, call.text),
        prompt=redact(call.request.prompt),
        recorded=redact(call.text),
        live=redact(repeated.text),
    )


def _judge(settings: Settings, models: Sequence[ModelDrift]) -> tuple[list[RoutesMoved], list[LimitSaid]]:
    from pytest_modelroute.report.drift_limits import limits_said, routes_moved
    from pytest_modelroute.router.classifier import LLMClassifier, labels_of
    from pytest_modelroute.router.client import ModelClient

    steps = steps_known(settings)
    classifier = LLMClassifier(ModelClient(settings), "", labels=labels_of(settings.tiers))
    return routes_moved(steps, models, classifier.read), limits_said(steps, models)


def steps_known(settings: Settings) -> list[StepKnown]:
    """What the settings say of each step: its model, its classifier and its limits."""
    from pytest_modelroute.report.drift_limits import StepKnown

    known: list[StepKnown] = []
    for name in dict.fromkeys((*settings.steps, *settings.thresholds)):
        step, threshold = settings.steps.get(name), settings.threshold(name)
        own = None if step is None or step.model not in settings.models else settings.model(step.model).model
        helper = None if step is None or step.classifier is None else settings.model(step.classifier).model
        known.append(
            StepKnown(
                step=name,
                model=own,
                classifier=helper,
                limits={} if threshold is None else threshold.limits,
            )
        )
    return known
