"""
The mutation score of our router: small defects in its source, and whether its tests notice.

`python benchmarks/router_mutation.py [N] [SEED]` draws N defects (60 where left out) from all that the operators below
can make, each in a copy of the package, and runs the router's tests on it. It reports and gates nothing: a survivor is
read by a person, since some change nothing that anybody could see.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUTER = Path("pytest_modelroute/router")
_LIMIT_S = 180
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
}


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int]]:
    """Every place where an operator can make a defect: (node, field, index in the field)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from ((node, "ops", number) for number, op in enumerate(node.ops) if type(op) in _SWAPS)
        elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in _SWAPS:
            yield node, "op", 0
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "not", 0
        elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
            yield node, "value", 0


def mutate(node: ast.AST, field: str, index: int) -> None:
    """Make the defect."""
    if field == "ops":
        assert isinstance(node, ast.Compare)
        node.ops[index] = _SWAPS[type(node.ops[index])]()  # type: ignore[call-overload]
    elif field == "op":
        assert isinstance(node, ast.BoolOp | ast.BinOp)
        node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif field == "not":
        assert isinstance(node, ast.UnaryOp)
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
    else:
        assert isinstance(node, ast.Constant)
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]


def main() -> None:
    """Draw, run, report."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    sources = sorted((ROOT / ROUTER).glob("*.py"))
    everywhere = [
        (path, number) for path in sources for number, _ in enumerate(places(ast.parse(path.read_text("utf-8"))))
    ]
    chosen = random.Random(seed).sample(everywhere, min(count, len(everywhere)))  # noqa: S311 - a draw
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("pytest_modelroute", "tests", "pyproject.toml"):
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, home / name)
        if not _is_green(home):
            sys.exit("the router's tests are not green as they are")
        killed = sum(_is_killed(home, path.relative_to(ROOT), number) for path, number in chosen)
    print(f"{killed} of {len(chosen)} defects noticed ({killed / len(chosen):.0%}), of {len(everywhere)} possible ones")


def _is_killed(home: Path, path: Path, number: int) -> bool:
    original = (home / path).read_text("utf-8")
    tree = ast.parse(original)
    node, field, index = list(places(tree))[number]
    before = ast.unparse(node)
    mutate(node, field, index)
    (home / path).write_text(ast.unparse(ast.fix_missing_locations(tree)), "utf-8")
    try:
        killed = not _is_green(home)
    finally:
        (home / path).write_text(original, "utf-8")
    line = getattr(node, "lineno", 0)
    print(f"{'noticed ' if killed else 'SURVIVED'}  {path.name}:{line}  {before}  ->  {ast.unparse(node)}", flush=True)
    return killed


def _is_green(home: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", "tests/router"]
    environment = {**os.environ, "PYTHONPATH": str(home)}
    try:
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
