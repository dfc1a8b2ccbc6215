"""What dvc.yaml says of each stage, its templates resolved, for a machine that has no DVC."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from zeroshot_al.base.errors import InputError


@dataclass(frozen=True)
class Stage:
    """One stage, of a `foreach` with @budget in its name.

    Parameters
    ----------
    params : dict
        Every key that the stage reads, with its value.
    """

    name: str
    command: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: dict[str, object]

    def key(self, root: Path) -> str:
        """Hash all that the outs depend on: command, params, and the bytes of the dependencies.

        Raises
        ------
        InputError
            If a dependency is missing.
        """
        digest = hashlib.sha256(json.dumps([self.command, self.params], sort_keys=True).encode())
        for dep in self.deps:
            for file in files_of(root / dep):
                digest.update(file.relative_to(root).as_posix().encode())
                with open(file, "rb") as opened:
                    digest.update(hashlib.file_digest(opened, "sha256").digest())
        return digest.hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return a file, or the files of a directory by name.

    Raises
    ------
    InputError
        If there is nothing of that name.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; run the stage that writes it, or unpack it")
    return sorted(
        file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )


def read_stages(root: Path) -> dict[str, Stage]:
    """Return the stages by name, in the order of dvc.yaml."""
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    resolved = {}
    for name, entry in stages.items():
        # As DVC does, a budget that stands there twice is one stage.
        for item in entry.get("foreach", [None]):
            values = params if item is None else params | {"item": _resolve(item, params)}
            whole = name if item is None else f"{name}@{values['item']}"
            resolved[whole] = _stage(whole, entry.get("do", entry), values)
    return resolved


def _stage(name: str, entry: dict, values: dict) -> Stage:
    def paths(*kinds: str) -> tuple[str, ...]:
        listed = [path for kind in kinds for path in entry.get(kind, [])]
        return tuple(
            _resolve(path if isinstance(path, str) else next(iter(path)), values) for path in listed
        )

    keys = [_resolve(key, values) for key in entry.get("params", [])]
    return Stage(
        name, _resolve(entry["cmd"], values), paths("deps"), paths("outs", "metrics", "plots"),
        {key: _look_up(key, values) for key in keys},
    )  # fmt: skip


def _resolve(text: str, values: dict) -> str:
    return re.sub(r"\$\{(.+?)\}", lambda found: str(_look_up(found[1], values)), text)


def _look_up(path: str, values: dict) -> object:
    """Follow a path such as budgets[0] or profiles.demo.moco."""
    found = values
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        found = found[key] if key else found[int(index)]
    return found
