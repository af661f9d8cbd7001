"""
Renews the generated parts of the README and of docs/: `python docs/generate.py`.

Tests check that nothing is left to renew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_TABLES = re.compile(
    r"(<!-- generated markdown: python (?P<command>[^\n]+) -->\n)(?P<output>.*?)(<!-- end of generated -->\n)",
    re.DOTALL,
)
_BLOCK = re.compile(r"(<!-- generated: python (?P<command>[^\n]+) -->\n```text\n)(?P<output>.*?)(```\n)", re.DOTALL)


def render(text: str) -> str:
    """The text with every generated block renewed."""
    for pattern in (_BLOCK, _TABLES):
        text = pattern.sub(lambda match: match[1] + output_of(match["command"].split()) + match[4], text)
    return text


def output_of(arguments: list[str]) -> str:
    """What a command prints, without what differs from run to run."""
    environment = {**os.environ, "COLUMNS": "110", "PYTHONWARNINGS": "ignore"}
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "FORCE_COLOR", "PY_COLORS", "CI", "GITHUB_ACTIONS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    lines = [
        re.sub(r"(\d (?:passed|failed|skipped|deselected)) in \d+\.\d+s.*", r"\1", line.rstrip())
        for line in done.stdout.splitlines()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Rewrite the documents whose outputs are out of date."""
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        document.write_text(render(document.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
