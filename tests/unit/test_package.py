"""The wheel: what it declares and holds, and that the orders need nothing of the pipeline."""

import ast
import doctest
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

from project_copies import ROOT
from zeroshot_al.coverage import zero_shot_order
from zeroshot_al.kcenter import kcenter_order

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
POINTS = np.random.default_rng(0).standard_normal((40, 5))
# Refuses whatever is in the environment beside the core's own dependencies.
WITHOUT_THE_PIPELINE = """
import json, sys
import numpy as np

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in json.loads(sys.argv[2]):
            raise ModuleNotFoundError(f"{name} is refused")

sys.meta_path.insert(0, Refuse())
sys.path[:0] = [sys.argv[1]]
import zeroshot_al
from zeroshot_al import zero_shot_order
from zeroshot_al.kcenter import kcenter_order

assert zeroshot_al.__file__.startswith(sys.argv[1]), zeroshot_al.__file__
points = np.random.default_rng(0).standard_normal((40, 5))
orders = [rule(points, 12).order.tolist() for rule in (kcenter_order, zero_shot_order)]
print(json.dumps(orders))
"""


def names(requirements):
    """Return the distributions that requirements name, in the spelling of an index."""
    found = (re.match(r"[\w.-]+(\[\w+\])?", line)[0] for line in requirements)
    return {name.lower().replace("_", "-") for name in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the sources, without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    copy = directory / "copy"
    shutil.copytree(
        ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg*")
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", directory, copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = directory.glob("*.whl")
    return file


def test_the_orders_need_no_package_of_the_pipeline(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    extras = names(EXTRAS["pipeline"] + EXTRAS["annotate"])
    refused = {
        module for module, owners in packages_distributions().items() if extras & names(owners)
    }
    assert {"dvc", "matplotlib", "timm", "jinja2", "ruamel", "safetensors", "PIL"} <= refused
    script = (sys.executable, "-P", "-c", WITHOUT_THE_PIPELINE)
    done = subprocess.run(
        [*script, tmp_path / "unpacked", json.dumps(sorted(refused))],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [rule(POINTS, 12).order.tolist() for rule in (kcenter_order, zero_shot_order)]
    assert json.loads(done.stdout) == expected


def test_every_file_of_the_library_is_in_the_wheel(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = (ROOT / "src/zeroshot_al").rglob("*.*")
    there = {f.relative_to(ROOT / "src").as_posix() for f in files if f.suffix != ".pyc"}
    assert {Path(name).suffix for name in there} == {".py", ".j2", ".css", ".js"}
    assert there <= packed
    assert not any(name.startswith("download") for name in packed)  # the stages stay outside


def test_all_that_is_imported_is_declared_and_pinned():
    owners = packages_distributions()
    ours = {"zeroshot_al", *(file.stem for file in (ROOT / "src").glob("*.py"))}
    imported = {
        name.partition(".")[0]
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    } - ours
    found = names(owners[name][0] for name in imported - sys.stdlib_module_names)
    declared = names(PROJECT["dependencies"] + EXTRAS["pipeline"] + EXTRAS["annotate"])
    assert found <= declared
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert names(pinned) <= declared


def test_the_examples_of_the_readme_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```pycon\n(.+?)```", text, re.DOTALL)
    example = doctest.DocTestParser().get_doctest(block, {}, "README.md", None, 0)
    assert doctest.DocTestRunner().run(example) == (0, 7)


def test_the_links_of_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    broken = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert not broken
    assert len(pages[0].read_text(encoding="utf-8").splitlines()) <= 150
