"""What a torture finds: the state of the files, what was told, and what was left."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from project_copies import Project  # noqa: E402

LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")


def is_stage(words: str, script: str) -> bool:
    """Whether a command line is that of a stage's script, and not of a shell around it."""
    return script in words and "python" in words.split()[0]


def state(project: Project) -> dict[str, str]:
    """Hash the outs, and read the lock as if it were one of them."""
    lock = (project.root / "dvc.lock").read_text(encoding="utf-8")
    return project.outs() | {"dvc.lock": lock}


def difference(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names that differ."""
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)]


def leftovers(root: Path) -> list[str]:
    """Return temporary files in the places of the outs."""
    return [
        path.relative_to(root).as_posix()
        for top in ("data", "models", "metrics", "plots")
        for path in (root / top).rglob(".*")
        if ".tmp" in path.name or path.name.endswith(".old")
    ]


def sentence(text: str, root: Path | None = None) -> str:
    """Return what a user is told: the last line that is neither a log line nor a bar."""
    lines = [
        line for line in text.replace("\r", "\n").splitlines()
        if line.strip() and not LOG_LINE.match(line) and "%|" not in line
    ]  # fmt: skip
    told = [line for line in lines if re.match(r"(ERROR: |[a-z_]+: )", line)]
    found = (told or lines or ["(nothing)"])[-1].strip()
    if found.endswith(":"):  # a list follows
        rest = lines[max(i for i, line in enumerate(lines) if line.strip() == found) + 1 :]
        found = " ".join([found, *(line.strip() for line in rest[:2])])
    for directory in (root, Path(sys.executable).parent):
        found = found.replace(f"{directory}/", "") if directory else found
    return found


def stage_sentence(text: str, stage: str, root: Path) -> str:
    """Return the one sentence of a stage's script, or what stands there instead."""
    for line in text.splitlines():
        if line.startswith(f"{stage}: "):
            return line.replace(f"{root}/", "")
    return "a traceback" if "Traceback" in text else sentence(text, root)
