"""Which of the project's own files a stage script imports, directly or through others."""

import ast
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
TOP = SRC / "zeroshot_al" / "__init__.py"


def first_party_files(script: Path) -> set[str]:
    """Return the script and every first-party module it reaches, relative to the root.

    Imports inside functions count. A module that holds nothing but a docstring does not: nothing
    in it can change a result. Nor does the top of the package, which imports what it exports when a
    name of its own is asked for: it counts for those who ask.
    """
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file in reached:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if len(tree.body) > 1 or not isinstance(tree.body[0], ast.Expr):
            reached.add(file)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in names:
                files = _files_of(name)
                exported = name.count(".") == 1 and files == [TOP]
                waiting.extend(file for file in files if file != TOP or exported)
    return {file.relative_to(SRC.parent).as_posix() for file in reached}


def _files_of(module: str) -> list[Path]:
    parts = module.split(".")
    files = [SRC.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(SRC.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.exists()]
