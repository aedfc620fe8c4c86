"""How many lines of code a method is: its distiller's file and the losses that file uses."""

from __future__ import annotations

import ast
import io
import tokenize
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossface.core.registry import Registry

# What every method stands on is nobody's own.
_COMMON = {"crossface.training.distillers.base", "crossface.losses.checks"}
_ROOMS = ("crossface.losses.", "crossface.training.distillers.")
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def method_code(distillers: Registry, name: str) -> dict[str, Any]:
    """{"lines": N, "files": [...]} of a distiller; comments, docstrings, blank lines left out.

    Args:
        distillers: the table of distillers.
        name: one of them.
    """
    todo, seen = [distillers.resolve(name).__module__], dict[str, str]()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen[module] = _source(module)
        todo += [
            found
            for found in _imported(seen[module])
            if found.startswith(_ROOMS) and found not in _COMMON
        ]
    files = sorted(seen)
    return {"lines": sum(code_lines(seen[file]) for file in files), "files": files}


def code_lines(source: str) -> int:
    """Lines of a Python file that hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {
        line
        for token in tokens
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


def _imported(source: str) -> list[str]:
    return [
        node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module is not None
    ]
