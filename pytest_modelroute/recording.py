"""From a test, its marker and the options of the run to where and how its calls are recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from shlex import quote
from typing import Any, Final, cast
from uuid import uuid4

import pytest

from pytest_modelroute.cassettes.estimate import Planned, describe_estimate
from pytest_modelroute.cassettes.keys import key_for_host
from pytest_modelroute.cassettes.names import cassette_path, is_device
from pytest_modelroute.cassettes.recorded_price import snapshot
from pytest_modelroute.cassettes.recording import STATE, Plan, TestRecording
from pytest_modelroute.cassettes.spending import Purse
from pytest_modelroute.cassettes.tape import RecordMode
from pytest_modelroute.config import ModelSettings
from pytest_modelroute.discovery import SettingsFiles
from pytest_modelroute.errors import CassetteError, RecordingError
from pytest_modelroute.evaluation.tiers import AllTiers, Tier
from pytest_modelroute.fixtures import SETTINGS
from pytest_modelroute.options import ALL_TIERS
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.redirection import Target

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._\[\]()=,+@-]+")
_LONGEST: Final = 120
_UP: Final = "(up)"
"Stands for `..` in the name of a cassette."
_SESSION: Final = pytest.StashKey[str]()


def check_marker(marker: pytest.Mark) -> str | None:
    """
    The name that a cassette marker gives; None for one of the test's own.

    Raises:
        CassetteError: It is used wrongly.

    """
    given: Mapping[str, Any] = {**dict(zip(("name",), marker.args, strict=False)), **marker.kwargs}
    name = given.get("name")
    if len(marker.args) > 1 or set(given) - {"name"} or not (name is None or (isinstance(name, str) and name)):
        shown = ", ".join([*map(repr, marker.args), *(f"{key}={value!r}" for key, value in marker.kwargs.items())])
        raise CassetteError(
            f"@pytest.mark.cassette({shown}): one name was expected, or none for a cassette of the test's own, such "
            'as @pytest.mark.cassette("intents")'
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the recordings of a test are."""

    home: Path
    "The folder of the settings."
    folder: Path
    "The folder of cassettes."
    path: Path
    "The cassette's file."
    shared: bool
    "Whether it has a name that other tests may give too."


def place_of(item: pytest.Item) -> Place:
    """
    Where the recordings of a test are, by its marker and the settings.

    Raises:
        CassetteError: The marker is used wrongly, or names no cassette that can be.
        SettingsError: The settings of its folder cannot be used.

    """
    files, near = item.config.stash[SETTINGS], item.path.parent
    settings = files.at(near)
    home = files.folder(near) or item.config.rootpath
    folder = home / (settings.cassettes if settings is not None else "cassettes")
    marker = item.get_closest_marker("cassette")
    name = None if marker is None else check_marker(marker)
    path = cassette_path(folder, name or own_name(item, home))
    return Place(home=home, folder=folder, path=path, shared=name is not None)


def replays_in_virtual_time(config: pytest.Config) -> bool:
    """Whether the recorded latencies pass at once: not beside live calls, and not where real time is asked for."""
    return config.getoption("modelroute_record") == "none" and config.getoption("modelroute_replay_speed") is None


def recording_of(item: pytest.Item, run: TestRun, test: str, progress: Callable[[str], None] | None) -> TestRecording:
    """
    The recording of a test.

    Raises:
        CassetteError: Its cassette cannot be read, or has a name that cannot be.

    """
    config, place = item.config, place_of(item)
    mode = cast("RecordMode", config.getoption("modelroute_record"))
    speed: float | None = config.getoption("modelroute_replay_speed")
    if speed is not None and mode == "none":
        run.wire.speed = speed
    purse = None if mode == "none" else _purse(config)
    settings_file = config.getoption("modelroute_config")
    elsewhere = f" --modelroute-config={quote(settings_file)}" if settings_file else ""
    plan = Plan(
        test=own_name(item, place.home),
        node=item.nodeid,
        module=item.path,
        path=place.path,
        folder=place.folder,
        state=place.home / STATE,
        shared=place.shared,
        mode=mode,
        command=f"pytest {quote(test)}{elsewhere} --modelroute-record=new",
        since="" if purse is None else purse.began(),
        **_settings_of(run),
    )
    recording = TestRecording(plan, purse=purse, progress=None if purse is None else progress)
    if config.getoption("modelroute_record_all_tiers"):
        run.bench.every_model = every_model(run, recording)
    return recording


def every_model(run: TestRun, recording: TestRecording) -> Callable[[], AllTiers]:
    """
    The models that --modelroute-record-all-tiers runs every case on.

    Raises:
        RecordingError: Of what is given, when it is asked: a key is missing, or there is no model.

    """

    def tiers() -> AllTiers:
        if run.tiers is None:
            settings = run.settings
            models = {} if settings is None else settings.answering_models()
            run.tiers = AllTiers(tiers=_with_keys(models, run), redact=recording.redact)
        return run.tiers

    return tiers


def check_all_tiers(items: Sequence[pytest.Item], files: SettingsFiles) -> dict[str, pytest.Item]:
    """What keeps --modelroute-record-all-tiers from recording anything: message -> the test at fault."""
    problems: dict[str, pytest.Item] = {}
    evaluated = [item for item in items if "evaluate_step" in getattr(item, "fixturenames", ())]
    recorded = [item for item in evaluated if "recorded_providers" in getattr(item, "fixturenames", ())]
    if items and not recorded:
        problems[
            f"{ALL_TIERS}: none of these tests evaluates a step with recorded providers, so nothing would be recorded; "
            "use evaluate_step and recorded_providers in one test"
        ] = items[0]
    for item in recorded:
        settings = files.at(item.path.parent)
        if settings is None or not settings.answering_models():
            problem = (
                f"{ALL_TIERS}: {item.path.name}: there are no models in its settings that a case could be run on; "
                "declare them: [tool.modelroute.models.<alias>]"
            )
            problems.setdefault(problem, item)
    return problems


def _with_keys(models: Mapping[str, ModelSettings], run: TestRun) -> list[Tier]:
    found, missing = list[Tier](), list[str]()
    for alias, model in models.items():
        try:
            key = key_for_host(model.provider_name, model.base_url)
        except RecordingError as error:
            missing.append(f"models.{alias}: {error}")
            continue
        target = Target(model=model.model, provider=model.provider_name, base_url=model.base_url, key=key)
        price = snapshot(run.wire.prices, model.provider_name, model.model)
        found.append(Tier(alias=alias, tier=model.tier, target=target, price=price))
    if missing:
        raise RecordingError("\n".join([f"{ALL_TIERS} calls every model of the settings:", *dict.fromkeys(missing)]))
    return found


def _purse(config: pytest.Config) -> Purse:
    """One for the whole run, whatever the settings of its tests."""
    home = config.stash[SETTINGS].folder(config.rootpath) or config.rootpath
    return Purse(home / STATE, session_name(config), config.getoption("modelroute_max_usd"))


def session_name(config: pytest.Config) -> str:
    """Tells this run from others; the same in all workers of pytest-xdist."""
    shared: dict[str, Any] | None = getattr(config, "workerinput", None)
    if shared is not None:
        return str(shared["testrunuid"])
    if _SESSION not in config.stash:
        plugin = config.pluginmanager.get_plugin("dsession")
        own: str | None = getattr(getattr(plugin, "nodemanager", None), "testrunuid", None)
        config.stash[_SESSION] = own or uuid4().hex
    return config.stash[_SESSION]


def estimate_of(config: pytest.Config, items: Sequence[pytest.Item]) -> str | None:
    """What recording these tests is likely to cost; None where none of them records."""
    files = config.stash[SETTINGS]
    planned: list[Planned] = []
    for item in items:
        if "recorded_providers" in getattr(item, "fixturenames", ()):
            settings = files.at(item.path.parent)
            planned.append((place_of(item).path, PriceBook() if settings is None else settings.prices()))
    if not planned:
        return None
    mode = cast("RecordMode", config.getoption("modelroute_record"))
    return describe_estimate(planned, mode=mode, cap=config.getoption("modelroute_max_usd"))


def own_name(item: pytest.Item, home: Path) -> str:
    """The name of a test's own cassette: the path of its module and its own name, safe on every file system."""
    own: list[pytest.Item | pytest.Class] = [part for part in item.listchain() if isinstance(part, pytest.Class)]
    own.append(item)
    last = _safe(".".join(part.name for part in own), alone=not any(map(_has_twin, own)))
    return "/".join([*map(_safe, _module(item.path, home)), last])


def _module(path: Path, home: Path) -> list[str]:
    """The parts of a module's path, which may be beside the folder of the settings."""
    try:
        parts = Path(os.path.relpath(path, home)).with_suffix("").parts
    except ValueError:  # pragma: no cover - another drive on Windows
        parts = (path.stem,)
    return [_UP if part == ".." else part for part in parts]


def _has_twin(part: pytest.Item | pytest.Class) -> bool:
    """Whether something beside it has a name that differs in case alone; of the two, one is said to have one."""
    name = getattr(part, "originalname", None) or part.name
    beside = dir(getattr(part.parent, "obj", None))
    return any(other > name and other.lower() == name.lower() for other in beside)


def _safe(name: str, *, alone: bool = True) -> str:
    """
    The name, or one like it with a hash of it.

    Parameters may hold any character; and where file systems know no case, `test[A]` and `test[a]` are one file.
    """
    plain = _UNSAFE.sub("-", name).rstrip(". ")
    parameters = plain.partition("[")[2]
    as_it_is = plain == name and len(plain) <= _LONGEST and parameters == parameters.lower()
    if as_it_is and alone and not is_device(plain):
        return plain
    return f"{plain[:_LONGEST]}-{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=4).hexdigest()}"


def _settings_of(run: TestRun) -> dict[str, Any]:
    settings = run.settings
    if settings is None:
        return {}
    recording = settings.recording
    return {
        "prices": settings.prices(),
        "allowed": settings.allow_hosts,
        "ignore_paths": recording.ignore_paths,
        "ignore_query": recording.ignore_query,
        "errors": recording.errors,
        "keep_headers": recording.keep_headers,
        "patterns": recording.patterns,
        "redact": recording.redact,
        "max_age_days": recording.max_age_days,
        "stale_fails": recording.stale == "fail",
    }
