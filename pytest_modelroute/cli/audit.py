"""`modelroute audit package.module:Class`: all laws of a router, and a scorecard."""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.cli.projects import import_from
from pytest_modelroute.errors import ModelRouteError, PromiseError, SubjectError

if TYPE_CHECKING:
    from argparse import Namespace

    from pytest_modelroute.cli.parser import Tell
    from pytest_modelroute.config import Settings
    from pytest_modelroute.report.scorecard import Scored

_FOUND: Final = 1
_clock = time.perf_counter


def audit(options: Namespace, tell: Tell) -> tuple[list[str], int]:
    """`modelroute audit`: 1 where a law is broken that is not known to be, or known to be and is not."""
    from pytest_modelroute.invariants.binding import law_named, promises_of, unpromised
    from pytest_modelroute.invariants.law import bound
    from pytest_modelroute.report.scorecard import Scorecard, scorecard_json, scorecard_lines, scorecard_markdown

    if options.list:
        return _all_laws(), 0
    if options.subject is None:
        raise PromiseError("modelroute audit: package.module:Class was expected, or --list")
    settings = _settings(options.config)
    kind = _class_named(options.subject)
    promises = promises_of(kind)
    laws = [law_named(kind, name) for name in options.law] or list(bound(promises))
    rows: list[Scored] = []
    for number, law in enumerate(laws, start=1):
        tell(f"{number}/{len(laws)} {law.id}")
        rows.append(_score(kind, law.id, options, settings))
    card = Scorecard(
        subject=options.subject,
        rows=tuple(rows),
        unpromised=unpromised(promises),
        profile=options.profile,
        seed=options.seed,
    )
    shown = {"json": lambda: [json.dumps(scorecard_json(card), indent=2)], "markdown": lambda: scorecard_markdown(card)}
    lines = shown.get(options.format, lambda: scorecard_lines(card))()
    return lines, 0 if card.ok else _FOUND


def _all_laws() -> list[str]:
    from pytest_modelroute.invariants.law import all_laws

    lines: list[str] = []
    family = ""
    for law in all_laws().values():
        if law.family != family:
            family = law.family
            lines += ["", f"{family[0].upper()}{family[1:]}"] if lines else [f"{family[0].upper()}{family[1:]}"]
        lines += [
            f"  {law.id} ({', '.join(law.needs) or 'always'})",
            *wrap(f"{law.says[0].upper()}{law.says[1:]}", 106, initial_indent="    ", subsequent_indent="    "),
            *wrap(f"Else: {law.why}", 106, initial_indent="    ", subsequent_indent="    "),
        ]
    return lines


def _score(kind: type[Any], law_id: str, options: Namespace, settings: Settings | None) -> Scored:
    from pytest_modelroute.invariants.checking import check_law
    from pytest_modelroute.invariants.telling import summary, tell
    from pytest_modelroute.lawrun import surroundings_of
    from pytest_modelroute.report.scorecard import Scored

    start = _clock()
    try:
        finding = check_law(
            kind, law_id, profile=options.profile, seed=options.seed, surroundings=surroundings_of(settings)
        )
    except SubjectError as error:
        raise ModelRouteError(f"{options.subject}: {error}") from error
    violated = finding.status == "violated"
    return Scored(
        law=law_id,
        needs=finding.law.needs,
        status=finding.status,
        examples=finding.examples,
        seconds=_clock() - start,
        known=dict(kind.known_violations).get(law_id),
        example=summary(finding) if violated else "",
        report=tell(finding, name=kind.__name__) if violated else "",
        idle=finding.law.idle,
    )


def _class_named(name: str) -> type[Any]:
    """
    The class that `package.module:Class` names.

    Raises:
        PromiseError: There is none.

    """
    from pytest_modelroute.invariants.harness import RoutingInvariants

    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise PromiseError(f"{name!r}: package.module:Class was expected, such as tests.test_router:TestSupportRouter")
    import_from(Path.cwd())
    try:
        with redirect_stdout(sys.stderr):  # what a module prints must not stand in a report
            module = import_module(module_name)
    except Exception as error:
        raise PromiseError(f"{name!r}: {module_name} cannot be imported ({type(error).__name__}: {error})") from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, RoutingInvariants)):
        known = [
            found.__name__
            for found in vars(module).values()
            if isinstance(found, type) and issubclass(found, RoutingInvariants) and found is not RoutingInvariants
        ]
        hint = f"; it has: {', '.join(known)}" if known else "; it has none"
        raise PromiseError(f"{name!r}: {module_name} has no class {class_name!r} of RoutingInvariants{hint}")
    return kind


def _settings(config: str | None) -> Settings | None:
    from pytest_modelroute.discovery import SettingsFiles

    return SettingsFiles(None if config is None else Path(config).resolve()).at(Path.cwd())
