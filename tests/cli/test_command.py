"""The command line itself: what it takes, how it ends, what it costs to ask for help."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

from pytest_modelroute.cli import main
from tests.cli.recordings import Desk, chat

RUN = (sys.executable, "-c", "import sys; from pytest_modelroute.cli import main; sys.exit(main())")
HEAVY = ("httpx", "pydantic", "genai_prices", "yaml", "vcr", "pytest")


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"modelroute {version('pytest-modelroute')}\n")


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    """Who asks for help does not wait."""
    code = (
        "import sys, json; from pytest_modelroute.cli import main\n"
        "try:\n    main(['cassettes', '--help'])\nexcept SystemExit:\n"
        f"    print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1]) == []
    named = {line.split()[0] for line in lines if line.startswith("    ")}
    assert {"list", "show", "audit", "accept", "prune", "stats", "drift"} <= named
    assert "exit codes: 0 all is fine, 1 something was found, 2 an error" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "x.yaml", "0"], "argument N: '0' is no whole number from 1 on"),
        (["show", "x.yaml", "two"], "argument N: 'two' is no whole number from 1 on"),
        (["drift", "--max-usd", "much"], "argument --max-usd: 'much' is no amount in USD, such as 0.50"),
        (["drift", "--max-usd", "-1"], "argument --max-usd: '-1' is no amount in USD, such as 0.50"),
        (["drift", "--timeout", "soon"], "argument --timeout: 'soon' is no number of seconds, such as 60"),
        (["drift", "--timeout", "inf"], "argument --timeout: 'inf' is no number of seconds, such as 60"),
        (["drift", "--concurrency", "0"], "argument --concurrency: '0' is no whole number from 1 on"),
        (["accept"], "the following arguments are required: FILE"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_command_line_is_an_error_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below how it is used; exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(["cassettes", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {message}")


def test_what_the_terminal_cannot_show_is_escaped(desk: Desk) -> None:
    """A terminal without UTF-8 is no reason to fail."""
    desk.put(chat("a", "caf\u00e9"))
    done = subprocess.run(
        [*RUN, "cassettes", "show", "cassettes/refund.yaml", "1"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": ":".join(sys.path)},
    )
    assert r"  caf\xe9" in done.stdout.splitlines()


def test_a_reader_that_has_seen_enough_is_no_error(desk: Desk) -> None:
    """As `| head` is."""
    desk.put(*(chat(str(number)) for number in range(300)))
    first = subprocess.Popen(
        [*RUN, "cassettes", "show", "cassettes/refund.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert first.stdout is not None
    assert first.stderr is not None
    first.stdout.close()
    told = first.stderr.read()
    first.stderr.close()
    assert (first.wait(), told) == (0, b"")


def test_an_interruption_is_one_word(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback; the code is that of shells."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    # The module that the command will import: runs of pytest in this process may have loaded it anew.
    monkeypatch.setattr(import_module("pytest_modelroute.cli.cassettes"), "show_stats", interrupted)
    ran = desk.run("stats")
    assert (ran.code, ran.err) == (130, ["interrupted"])
