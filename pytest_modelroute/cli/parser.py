"""The command line: what may be written, and which function does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

if TYPE_CHECKING:
    from decimal import Decimal

Tell: TypeAlias = Callable[[str], None]
"Says something while a command runs."
Command: TypeAlias = Callable[[argparse.Namespace, Tell], tuple[list[str], int]]
"Gives what to print, and the exit code."
_FILES: Final = "cassettes and folders of them; all below the folder of cassettes where left out"
_EPILOG: Final = "exit codes: 0 all is fine, 1 something was found, 2 an error"


def parse(arguments: Sequence[str] | None) -> tuple[Command, argparse.Namespace]:
    """The function of a command line and its options; ends the process where the line is wrong, or asks for help."""
    options = _parser().parse_args(arguments)
    module, _, function = str(options.run).partition(":")
    return cast("Command", getattr(import_module(f"pytest_modelroute.cli.{module}"), function)), options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelroute", description="Regression tests for model routing.", epilog=_EPILOG
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    groups = parser.add_subparsers(metavar="COMMAND", required=True)
    cassettes = groups.add_parser(
        "cassettes", help="what is recorded: list, show, audit, accept, prune, stats, drift", epilog=_EPILOG
    )
    commands = cassettes.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_show(commands)
    _add_audit(commands)
    _add_accept(commands)
    _add_prune(commands)
    _add_stats(commands)
    _add_drift(commands)
    _add_router_audit(groups)
    _add_mutate(groups)
    return parser


def _add(commands: Any, name: str, run: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=_EPILOG
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--config",
        metavar="FILE",
        help="settings file; else the nearest modelroute.toml or pyproject.toml with [tool.modelroute] at or above "
        "the cassettes",
    )
    return command


def _add_list(commands: Any) -> None:
    command = _add(commands, "list", "cassettes:list_cassettes", "each cassette, what it holds and whether it is stale")
    command.add_argument("paths", nargs="*", metavar="FILE", help=_FILES)
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_show(commands: Any) -> None:
    command = _add(commands, "show", "cassettes:show_cassette", "the interactions of a cassette, or one of them whole")
    command.add_argument("path", metavar="FILE", help="a cassette")
    command.add_argument("number", metavar="N", nargs="?", type=_positive, help="the number of an interaction, from 1")


def _add_audit(commands: Any) -> None:
    command = _add(
        commands, "audit", "cassettes:audit_cassettes", "look for secrets, and for cassettes that were changed by hand"
    )
    command.add_argument(
        "paths",
        nargs="*",
        metavar="FILE",
        help="files and folders; the folder of cassettes and the journal if left out",
    )


def _add_accept(commands: Any) -> None:
    command = _add(commands, "accept", "cassettes:accept_cassettes", "vouch for cassettes that were changed by hand")
    command.add_argument("paths", nargs="+", metavar="FILE", help="cassettes")


def _add_prune(commands: Any) -> None:
    command = _add(
        commands, "prune", "cassettes:prune_cassettes", "remove what no test replays, and cassettes whose test is gone"
    )
    command.add_argument("paths", nargs="*", metavar="FILE", help=_FILES)
    command.add_argument("--yes", action="store_true", help="do it; without, only show what would be removed")


def _add_stats(commands: Any) -> None:
    command = _add(commands, "stats", "cassettes:show_stats", "calls, tokens, cost and latency by model")
    command.add_argument("paths", nargs="*", metavar="FILE", help=_FILES)
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_drift(commands: Any) -> None:
    command = _add(
        commands,
        "drift",
        "drift:show_drift",
        "repeat recorded requests live, which costs money, and compare; nothing is overwritten",
    )
    command.add_argument("paths", nargs="*", metavar="FILE", help=_FILES)
    command.add_argument("--sample", metavar="N", type=_positive, help="at most N calls, the same ones each time")
    command.add_argument(
        "--max-usd", metavar="USD", type=_usd, help="refuse to begin, and stop, before the calls cost more"
    )
    command.add_argument("--concurrency", metavar="N", type=_positive, default=1, help="calls at once; 1 by default")
    command.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=60.0, help="of silence until a call has failed; 60"
    )
    command.add_argument(
        "--score",
        metavar="SCORER",
        default="exact_match",
        help="exact_match (default), contains, json_equal, numeric, numeric:TOLERANCE or package.module:function, "
        "which is given the live and the recorded reply",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_router_audit(groups: Any) -> None:
    command = _add(
        groups, "audit", "audit:audit", "try all laws of a class of RoutingInvariants, and print a scorecard"
    )
    command.add_argument(
        "subject", metavar="MODULE:CLASS", nargs="?", help="such as tests.test_router:TestSupportRouter"
    )
    command.add_argument("--list", action="store_true", help="say which laws there are and what each needs, and end")
    command.add_argument("--law", action="append", default=[], metavar="ID", help="this law alone; may be repeated")
    command.add_argument(
        "--profile", choices=("quick", "ci", "thorough"), default="ci", help="how many examples; ci by default"
    )
    command.add_argument("--seed", metavar="N", type=int, default=0, help="try other examples; 0 by default")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="text by default")


def _add_mutate(groups: Any) -> None:
    command: argparse.ArgumentParser = groups.add_parser(
        "mutate",
        help="test the tests: run a suite while its providers misbehave, one defect at a time",
        description="Test the tests: run a suite once as it is, then with one defect of its providers at a time, and "
        "say which defects leave it green. Nothing is sent to a provider, and nothing is recorded.",
        usage="modelroute mutate [options] -- pytest ...",
        epilog="exit codes: 0 the score is reached, 1 it is not, 2 an error: the suite is not green as it is, a run "
        "could not be judged, or no defect applies",
    )
    command.set_defaults(run="mutate:mutate")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="pytest ...", help="what runs the suite")
    command.add_argument(
        "--only", action="append", default=[], metavar="DEFECT", help="these defects, with commas between them"
    )
    command.add_argument("--list", action="store_true", help="say which defects there are, and end")
    command.add_argument("--format", choices=("text", "json", "markdown"), default="text", help="text by default")
    command.add_argument(
        "--min-score",
        metavar="SHARE",
        type=_share,
        default=1.0,
        help="the share of defects that must be noticed, such as 0.8 or 80%%; all by default",
    )
    command.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="end a run after so long, which counts as noticed; 30 and five times the untouched run by default",
    )


class _Version(argparse.Action):
    """Looks the version up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"modelroute {version('pytest-modelroute')}\n")
        parser.exit()


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _usd(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount in USD, such as 0.50")
    return amount


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1, such as 0.8 or 80%")
    return share


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, such as 60")
    return seconds
