"""`modelroute cassettes` but for drift: from options to data, and from data to lines."""

from __future__ import annotations

import json
from shlex import join
from typing import TYPE_CHECKING, Any

from pytest_modelroute.cli.projects import Project, Projects, existing, shortened

if TYPE_CHECKING:
    from argparse import Namespace
    from decimal import Decimal
    from pathlib import Path

    from pytest_modelroute.cassettes.calls import RecordedCall
    from pytest_modelroute.cassettes.files import CassetteFile
    from pytest_modelroute.cli.parser import Tell
    from pytest_modelroute.report.interaction import Numbered

_FOUND = 1


def list_cassettes(options: Namespace, _tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes list`: 1 where one cannot be read, or is stale and the settings say that this fails."""
    from datetime import UTC, datetime

    from pytest_modelroute.cassettes.overview import Age, overview
    from pytest_modelroute.cassettes.replayed import read_replays, record_command
    from pytest_modelroute.cassettes.staleness import other_versions
    from pytest_modelroute.report.cassettes import list_json, list_lines

    chosen = Projects(options.config).cassettes(options.paths)
    replays = {project.home: read_replays(project.state) for project, _ in chosen}
    overviews = [
        overview(
            path,
            age=Age(
                now=datetime.now(UTC),
                max_age_days=project.recording.max_age_days,
                prices=project.settings.prices(),
                command=record_command(project.name(path), replays[project.home]),
            ),
            hosts=project.settings.provider_hosts(),
        )
        for project, path in chosen
    ]
    within = {stale.message for each in overviews for stale in each.stale}
    facts = [facts for each in overviews if each.problem is None for facts in each.facts]
    moved = other_versions(facts, command="pytest --modelroute-record=all") if len(overviews) > 1 else []
    moved = [stale for stale in moved if stale.message not in within]
    strict = any(project.recording.stale == "fail" for project, _ in chosen)
    stale = bool(within or moved)
    code = _FOUND if any(each.problem for each in overviews) or (strict and stale) else 0
    return ([_json(list_json(overviews, moved))] if options.json else list_lines(overviews, moved)), code


def show_cassette(options: Namespace, tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes show`: 1 where the cassette was changed by hand."""
    from pytest_modelroute.cassettes.calls import read_call
    from pytest_modelroute.cassettes.files import read_cassette
    from pytest_modelroute.errors import CassetteError
    from pytest_modelroute.report.interaction import interaction_lines, table_lines

    path = existing(options.path)
    if path.is_dir():
        raise CassetteError(
            f"{path}: one cassette was expected, not a folder; see what is in it: modelroute cassettes list {path}"
        )
    project, code = Projects(options.config).at(path.parent), 0
    try:
        read = read_cassette(path)
    except CassetteError as error:
        read, code = read_cassette(path, sealed=False), _FOUND  # what is damaged beyond an edit says so itself
        tell(str(error))
    hosts = project.settings.provider_hosts()
    rows: list[Numbered] = [
        (position, line, each, read_call(each, hosts))
        for position, (line, each) in enumerate(zip(read.lines, read.interactions, strict=True), start=1)
    ]
    number: int | None = options.number
    if number is None:
        lines = table_lines(path, path.stat().st_size, rows)
        return [project.redactor.text(line) for line in lines], code
    if number > len(rows):
        raise CassetteError(f"{path}: there is no interaction {number}; it holds {len(rows)}")
    return interaction_lines(path, len(rows), rows[number - 1], project.redactor.text), code


def audit_cassettes(options: Namespace, _tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes audit`: 1 where something was found."""
    from pytest_modelroute.cassettes.audit import audit
    from pytest_modelroute.cassettes.journal import FOLDER
    from pytest_modelroute.errors import CassetteError
    from pytest_modelroute.report.cassettes import audit_lines

    projects = Projects(options.config)
    paths = [existing(text) for text in options.paths]
    project = projects.at(paths[0] if paths[0].is_dir() else paths[0].parent) if paths else projects.here()
    others: list[Path] = []
    if not paths:
        paths = [shortened(project.folder)]
        others = [shortened(project.state / FOLDER)]
        if not paths[0].is_dir() and not others[0].is_dir():
            raise CassetteError(f"{paths[0]}: there is no such folder, and no journal either: nothing is recorded here")
    found = audit(
        [path for path in paths if path.is_dir() or path.is_file()],
        project.redactor,
        others=[path for path in others if path.is_dir()],
    )
    return audit_lines(found), _FOUND if found.flaws else 0


def accept_cassettes(options: Namespace, _tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes accept`."""
    from pytest_modelroute.cassettes.checks import refuse_secrets
    from pytest_modelroute.cassettes.files import read_cassette
    from pytest_modelroute.cassettes.saving import accept
    from pytest_modelroute.report.cassettes import counted

    lines: list[str] = []
    for project, path in Projects(options.config).cassettes(options.paths):
        before = read_cassette(path, sealed=False).digest
        check = refuse_secrets(project.redactor, path, remedy="Put REDACTED in their place, and accept it again")
        accept(path, folder=project.folder, state=project.state, check=check)
        after = read_cassette(path)
        if after.digest == before:
            lines.append(f"{path}: nothing to accept, it is as it was recorded")
        else:
            lines.append(
                f"{path}: accepted as it is now, {counted(len(after.interactions), 'interaction')}; "
                "look at the diff before you commit it"
            )
    return lines, 0


def prune_cassettes(options: Namespace, _tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes prune`: 1 where there is something to remove that was not."""
    from pytest_modelroute.cassettes.checks import refuse_secrets
    from pytest_modelroute.cassettes.pruning import find_unused, remove_unused
    from pytest_modelroute.report.cassettes import unused_lines

    found: list[tuple[Project, Any]] = []
    for project, paths in _by_project(Projects(options.config).cassettes(options.paths)):
        found += [(project, each) for each in find_unused(paths, folder=project.folder, state=project.state)]
    removable = any(each.complete and (each.whole or each.unused) for _, each in found)
    if options.yes:
        for project, each in found:
            check = refuse_secrets(project.redactor, each.path, remedy="Nothing of it was removed")
            remove_unused(each, folder=project.folder, state=project.state, check=check)
    config = [] if options.config is None else ["--config", options.config]
    command = join(["modelroute", "cassettes", "prune", *config, *options.paths, "--yes"])
    lines = unused_lines([each for _, each in found], done=options.yes, command=command)
    return lines, _FOUND if removable and not options.yes else 0


def show_stats(options: Namespace, tell: Tell) -> tuple[list[str], int]:
    """`modelroute cassettes stats`: 1 where a cassette cannot be read."""
    from pytest_modelroute.cassettes.calls import read_call
    from pytest_modelroute.report.stats import stats_json, stats_lines, stats_of

    calls: list[tuple[RecordedCall, Decimal | None]] = []
    others, read, code = 0, 0, 0
    for project, path in Projects(options.config).cassettes(options.paths):
        file = _read_or_tell(path, tell)
        if file is None:
            code = _FOUND
            continue
        read += 1
        prices, hosts = project.settings.prices(), project.settings.provider_hosts()
        for interaction in file.interactions:
            call = read_call(interaction, hosts)
            if call is None:
                others += 1
            else:
                calls.append((call, call.cost_today(prices)))
    stats = stats_of(calls)
    if options.json:
        return [_json(stats_json(stats, cassettes=read, others=others))], code
    return stats_lines(stats, cassettes=read, others=others), code


def _read_or_tell(path: Path, tell: Tell) -> CassetteFile | None:
    from pytest_modelroute.cassettes.files import read_cassette
    from pytest_modelroute.errors import CassetteError

    try:
        return read_cassette(path)
    except CassetteError as error:
        tell(str(error))
        return None


def _by_project(chosen: list[tuple[Project, Path]]) -> list[tuple[Project, list[Path]]]:
    groups: dict[Path, tuple[Project, list[Path]]] = {}
    for project, path in chosen:
        groups.setdefault(project.home, (project, []))[1].append(path)
    return list(groups.values())


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
