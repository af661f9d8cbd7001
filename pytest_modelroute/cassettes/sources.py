"""
What the sources of tests say of cassettes, without running them: whether a test is still there, and who names what.

Only what is certain counts: a test that may be inherited, generated or imported is taken to be there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv"})
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_gone(module: Path, function: Sequence[str]) -> bool:
    """
    Whether a test is certainly not there any more.

    Args:
        module: Its file.
        function: The names of its classes and of its function, without parameters.

    """
    try:
        source = module.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    if not function or _names(source, function[-1]):
        return False
    *classes, _ = function
    if not classes:
        return not re.search(r"^\s*from\s+\S+\s+import\s+\*", source, re.MULTILINE)
    if not all(_names(source, name) for name in classes):
        return True
    return _has_no_bases(source, classes[-1])


def sources_naming_cassettes(home: Path) -> list[tuple[Path, str]]:
    """
    The Python files of a folder that speak of cassettes, with their text.

    Folders of installed packages and those that begin with a dot are not looked into.
    """
    found: list[tuple[Path, str]] = []
    for path in _python_files(home):
        with suppress(OSError, ValueError):
            source = path.read_text("utf-8")
            if "cassette" in source:
                found.append((path, source))
    return found


def markers_of(sources: Sequence[tuple[Path, str]], names: Collection[str]) -> list[tuple[Path, str | None]]:
    """Where files name a shared cassette: (file, test function), None for a function where that is not certain."""
    found: list[tuple[Path, str | None]] = []
    for path, source in sources:
        if any(f"{quote}{name}{quote}" in source for name in names for quote in "\"'"):
            functions = list(_marked(source, names))
            found += [(path, function) for function in functions] or [(path, None)]
    return found


def _names(source: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", source) is not None


def _has_no_bases(source: str, name: str) -> bool:
    """Whether a class is defined there, and inherits nothing."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return bool(classes) and not any(node.bases or node.keywords for node in classes)


def _marked(source: str, names: Collection[str]) -> Iterator[str]:
    """The functions that carry the marker themselves."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, _Function) and any(_is_marker(each, names) for each in node.decorator_list):
            yield node.name


def _is_marker(decorator: ast.expr, names: Collection[str]) -> bool:
    if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith("mark.cassette"):
        return False
    given = [*decorator.args, *(keyword.value for keyword in decorator.keywords)]
    return any(isinstance(each, ast.Constant) and each.value in names for each in given)


def _python_files(home: Path) -> Iterator[Path]:
    for path in sorted(home.rglob("*.py")):
        parts = path.relative_to(home).parts
        if not any(part.startswith(".") or part in _SKIPPED for part in parts):
            yield path
