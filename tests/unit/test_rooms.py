"""The rooms of the library and who may use whom; `pytest -s` on this file prints the picture."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "zeroshot_al"
# From the bottom up: a room uses those before it, and never one after it.
ROOMS = (
    "base",
    "process",
    "orders",
    "rounds",
    "sources",
    "engine",
    "selfsup",
    "embedding",
    "kcenter",
    "coverage",
    "probing",
    "classifier",
    "methods",
    "gallery",
    "labels",
    "predicting",
    "report",
)


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(file: Path) -> set[str]:
    """Return the rooms that a file imports, at its top or inside of a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zeroshot_al"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {room_of(name) for name in names}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("zeroshot_al.")]
            found |= {room_of(name) for name in names}
    return found


def picture() -> dict[str, set[str]]:
    used: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            used.setdefault(parts[0], set()).update(imports(file) - {parts[0]})
    return used


def test_every_arrow_points_down():
    used = picture()
    for room in ROOMS:
        print(f"{room:<11} uses {', '.join(sorted(used[room], key=ROOMS.index)) or 'nothing'}")
    assert used.keys() == set(ROOMS)
    upwards = [
        f"{room} uses {other}"
        for room in ROOMS
        for other in used[room]
        if ROOMS.index(other) >= ROOMS.index(room)
    ]
    assert upwards == []
