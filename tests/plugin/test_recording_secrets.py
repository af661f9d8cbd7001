"""A recording session leaves no secret behind: in no file, in no message, whatever became of its tests."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator

import pytest

from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.journal import Journal
from pytest_modelroute.cassettes.redaction import Redactor
from tests.cassettes.planted import ENVIRONMENT, made_up, plants
from tests.plugin.live import JSON, Project, chat_reply

Run = Callable[..., pytest.RunResult]
NEW = "--modelroute-record=new"
ONE = "test_it/test_it"
SENDING = """
import os, re
import httpx
import pytest
from tests.cassettes.planted import plants

def send(number, plant):
    there = os.environ["LIVE_URL"].removeprefix("http://")
    url = re.sub("^https://([^/@]*@)?[^/]+", lambda found: f"http://{found[1] or ''}{there}", plant.request.url)
    headers = [*plant.request.headers, ("x-plant", str(number))]
    with httpx.Client(verify=False) as client:
        return client.request(plant.request.method, url, headers=headers, content=plant.request.body).read()

def send_all(plants):
    for number, plant in enumerate(plants):
        send(number, plant)
"""
PLANTS = plants()


@pytest.fixture
def planted(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A provider that answers each plant with its response, in an environment with keys."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def mirror(headers: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        given = PLANTS[int(headers.get("x-plant") or headers["X-Plant"])].response
        kept = [(name, value) for name, value in given.headers if name.lower() != "content-length"]
        return given.status, kept, given.body

    project.live.mirror = mirror
    (project.path / "sending.py").write_text(SENDING, "utf-8")
    return project


def secrets() -> set[str]:
    """All that must not stay; shorter ones may stand in any text by chance."""
    return {secret for plant in PLANTS for secret in plant.secrets if len(secret) >= 8}


def leaks(project: Project, *outputs: str) -> list[tuple[str, str]]:
    """Where a secret is: files below the folder as they are, and as they are read, and what was printed."""
    looked_at = {
        path: path.read_bytes() for path in project.path.rglob("*") if path.is_file() and path.suffix != ".pyc"
    }
    texts = {str(path): data.decode("latin-1") for path, data in looked_at.items()}
    texts |= {f"{path} as UTF-8": data.decode("utf-8", "replace") for path, data in looked_at.items()}
    texts |= {f"output {number}": output for number, output in enumerate(outputs)}
    texts |= {f"interaction {number}": said(each) for number, each in enumerate(kept(project))}
    return [(place, secret) for place, text in texts.items() for secret in secrets() if secret in text]


def kept(project: Project) -> Iterator[Interaction]:
    """All interactions of the cassettes and of their journals."""
    for path in project.path.joinpath("cassettes").rglob("*.yaml"):
        yield from project.cassette(
            path.relative_to(project.path / "cassettes").with_suffix("").as_posix()
        ).interactions
    for name in ("test_it/test_it", "test_it/test_fails"):
        yield from Journal(project.state, str(project.file(name))).read()


def said(interaction: Interaction) -> str:
    """All of it as one text."""
    request, response = interaction.request, interaction.response
    bodies = (request.body.decode("latin-1"), response.body.decode("latin-1"))
    return "\n".join([request.url, repr(request.headers), response.reason, repr(response.headers), *bodies])


def test_a_session_planted_with_secrets_leaves_none_behind(planted: Project, run: Run) -> None:
    """A test that passes, one that fails and one that misses: cassette, journal, cache, output, XML and messages."""
    assert len({plant.name for plant in PLANTS}) >= 60
    planted.tests(
        """
        from sending import plants, send_all

        def test_it(recorded_providers):
            send_all(plants())

        def test_fails(recorded_providers):
            send_all(plants()[::3])
            assert False
        """
    )
    recorded = run("-v", "-l", "--junitxml=report.xml", NEW)
    recorded.assert_outcomes(passed=1, failed=1)
    assert len(planted.cassette(ONE).interactions) == len(PLANTS)
    assert len(Journal(planted.state, str(planted.file("test_it/test_fails"))).read()) == len(PLANTS[::3])
    asked = len(planted.live.others)
    replayed = run("-v", "-k", "test_it", "--junitxml=report2.xml")
    replayed.stdout.fnmatch_lines(["*test_it PASSED*"])
    assert len(planted.live.others) == asked
    assert any(planted.state.joinpath("cache").iterdir())
    assert leaks(planted, recorded.stdout.str(), recorded.stderr.str(), replayed.stdout.str()) == []
    remains = Redactor(environment=ENVIRONMENT).remains
    assert [path for path in planted.path.rglob("*.yaml") if remains(path.read_bytes())] == []


def test_the_messages_of_misses_show_no_secret(planted: Project, run: Run) -> None:
    """Neither on the terminal nor in the XML, nor in the names of what is nearest."""
    planted.tests("from sending import plants, send\ndef test_it(recorded_providers):\n    send(0, plants()[0])\n")
    run(NEW).assert_outcomes(passed=1)
    planted.tests(
        """
        from sending import plants, send

        def test_it(recorded_providers):
            for number, plant in enumerate(plants()):
                try:
                    send(number, plant)
                except BaseException:
                    pass
        """
    )
    missed = run("-v", "--junitxml=report.xml")
    missed.assert_outcomes(failed=1)
    said_of_misses = missed.stdout.str()
    assert said_of_misses.count("no recorded call answers this request:") >= 50
    assert leaks(planted, said_of_misses, missed.stderr.str()) == []


def test_what_is_kept_of_a_recording_can_be_read_by_its_owner_alone(project: Project, run: Run) -> None:
    """The journal and its folder, and all of `.modelroute` is kept out of git."""
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n    assert False\n")
    run(NEW).assert_outcomes(failed=1)
    (journal,) = (project.state / "journal").iterdir()
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.parent.stat().st_mode) == 0o700
    assert (project.state / ".gitignore").read_text("utf-8") == "*\n"


ECHOING = """
    import os
    import httpx
    from app import ask

    def test_it(recorded_providers):
        key = os.environ.get("MISTRAL_API_KEY", "unset")
        url = os.environ["LIVE_URL"] + "/v1/chat/completions"
        body = {"model": "m", "messages": [{"role": "user", "content": f"I am {key}"}], "user": key}
        sent = {"authorization": f"Bearer {key}", "cookie": f"session={key}"}
        reply = httpx.post(f"{url}?key={key}", json=body, headers=sent, verify=False)
        assert reply.json()["choices"][0]["message"]["content"].startswith("re: I am ")
    """


def test_a_replay_works_with_other_keys_and_without(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the environment is no part of what was asked, in whatever place it was sent."""
    first, second = made_up("first", 32), made_up("second", 32)
    monkeypatch.setenv("MISTRAL_API_KEY", first)
    project.tests(ECHOING)
    run(NEW).assert_outcomes(passed=1)
    assert first not in project.file(ONE).read_text("utf-8")
    assert first.encode() not in b"".join(path.read_bytes() for path in project.state.rglob("*") if path.is_file())
    assert any(first in str(headers) for headers in project.live.headers)
    monkeypatch.setenv("MISTRAL_API_KEY", second)
    run().assert_outcomes(passed=1)
    monkeypatch.delenv("MISTRAL_API_KEY")
    run().assert_outcomes(passed=1)
    assert len(project.live.asked) == 1


def test_a_key_that_the_test_itself_sets_is_no_part_of_a_recording(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application may load its keys from a file of its own, once it runs."""
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    key = made_up("loaded", 32)
    project.tests(
        f"""
        import os
        from app import ask

        def test_it(recorded_providers, monkeypatch):
            monkeypatch.setenv("MISTRAL_API_KEY", {key!r})
            ask("I am " + os.environ["MISTRAL_API_KEY"])
        """
    )
    run(NEW).assert_outcomes(passed=1)
    assert key not in project.file(ONE).read_text("utf-8")
    run().assert_outcomes(passed=1)
    assert len(project.live.asked) == 1


HOOK = """
def redact(text):
    return text.replace("customer 4711", "customer REDACTED")

def raises(text):
    raise KeyError("customer 4711")
"""


def test_a_hook_takes_out_what_only_the_project_knows(project: Project, run: Run) -> None:
    """From the prompt, the reply and the message of a miss; the replay finds it all the same."""
    (project.path / "hooks.py").write_text(HOOK, "utf-8")
    project.settings('[recording]\nredact = "hooks:redact"\n')
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('of customer 4711')\n")
    for options in ((NEW,), ()):
        run(*options).assert_outcomes(passed=1)
    assert "4711" not in project.file(ONE).read_text("utf-8")
    assert project.prompts(ONE) == ["of customer REDACTED"]
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('no customer 4711')\n")
    result = run()
    result.stdout.fnmatch_lines(["  prompt: 'no customer REDACTED'"])
    result.stdout.no_fnmatch_line("*prompt*4711*")
    assert len(project.live.asked) == 1


def test_a_save_that_would_hold_a_secret_is_refused(project: Project, run: Run) -> None:
    """A hook that puts one back: the message says where and what to do, and never what; the calls are kept."""
    secret = made_up("put-back", 48)
    (project.path / "hooks.py").write_text(
        f"def redact(text):\n    return text.replace('PLACE', 'sk-{secret}')\n", "utf-8"
    )
    project.settings('[recording]\nredact = "hooks:redact"\n')
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('in this PLACE')\n")
    result = run(NEW)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "cassettes/test_it/test_it.yaml was not saved, since it would hold 2 secrets:",
            "  line *: *",
            "  line *: *",
            "Teach redaction about it: * in [[]tool.modelroute.recording], then run again; the calls are kept in the *",
        ],
        consecutive=True,
    )
    assert secret not in result.stdout.str()
    assert project.cassettes() == []
    assert len(project.waiting(ONE)) == 1
    project.settings("")
    run(NEW).assert_outcomes(passed=1)
    assert secret not in project.file(ONE).read_text("utf-8")


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            "hooks:raises",
            'redact = "hooks:raises" raised KeyError: it is given a text, and returns it without its secrets',
        ),
        ("hooks:nothing", "redact = \"hooks:nothing\": module 'hooks' has no attribute 'nothing'; *"),
        ("nowhere:redact", "redact = \"nowhere:redact\": No module named 'nowhere'; package.module:function was *"),
    ],
)
def test_a_hook_that_fails_stops_the_recording(project: Project, run: Run, hook: str, message: str) -> None:
    """In one message without the text that it was given; nothing is sent, and nothing written."""
    (project.path / "hooks.py").write_text(HOOK, "utf-8")
    project.settings(f'[recording]\nredact = "{hook}"\n')
    project.tests(
        "from app import ask_or_fall_back\ndef test_it(recorded_providers):\n    ask_or_fall_back('of customer 4711')\n"
    )
    result = run(NEW)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert project.live.asked == []
    assert project.cassettes() == []


def test_a_reply_that_cannot_be_looked_into_is_not_saved(project: Project, run: Run) -> None:
    """It might hold a secret, so that the test fails though the client was content."""

    def packed(_asked: object) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, [JSON, ("content-encoding", "lzma")], chat_reply("secret", "m")

    project.live.answer = packed
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n")
    result = run(NEW)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["a body is encoded as 'lzma', which cannot be looked through for secrets: *"])
    assert project.cassettes() == []
