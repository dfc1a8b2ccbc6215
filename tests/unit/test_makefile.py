"""What is given to `make annotate` and `make train` arrives as it was typed; no shell runs it.

`dvc` and `python` are stood in for by a script that writes down what it was called with; what DVC
would make of that is its own code's to say.
"""

import json
import shutil
import stat
import subprocess
import sys

import pytest
from dvc.utils.hydra import apply_overrides

from project_copies import BIN, ROOT, Project, clean_environment
from zeroshot_al.base.params import read_yaml

HOSTILE = [
    "/plain",
    "/with blank ",
    "/it's",
    '/a "quote"',
    "/$(touch evil)",
    "/`touch evil`",
    "/;touch evil;",
    "/a && touch evil",
    "/$(shell touch evil)",
    "$(error x)",
    "/$HOME $x $$ $@",
    "/a,b=[1]{c}",
    "/x#y: z",
    "/日本 ü",
    "~/photos",
    "photos",
    "/a)b(",
    "/%",
    "-rf",
    "/'$(touch evil)'",
    # What YAML could take for something else than text.
    *("no", "yes", "on", "12:30", "1:2:3", "1e-05", "3e5", "007", "0x1f", "1_000", "2024-05-01"),
    *("true", "null", "~", ".inf", "=", "<<", "!a", "&a", "*a"),
    "- a",
    "[1, 2]",
]


@pytest.fixture
def make(tmp_path):
    """Return a function that runs make, and returns the programs' arguments and the messages."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    for name in ("requirements.txt", "pyproject.toml", ".venv/installed"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    for name in ("dvc", "python"):
        program = tmp_path / "bin" / name
        program.write_text(
            f"#!{sys.executable}\nimport json, sys\n"
            "with open('calls', 'a') as file:\n    print(json.dumps(sys.argv[1:]), file=file)\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def run(*words):
        done = subprocess.run(
            ["make", *words, f"BIN={tmp_path / 'bin'}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not list(tmp_path.rglob("evil"))
        calls = tmp_path / "calls"
        found = list(map(json.loads, calls.read_text().splitlines())) if calls.exists() else []
        assert bool(found) == (done.returncode == 0), done.stderr
        return found, done.stderr

    return run


def as_dvc_reads(option, tmp_path):
    """Apply a -S option to params by DVC's own code, and return the path's new value."""
    path = tmp_path / "of_dvc.yaml"
    keys = ("data.root", "labels.file", "encoder.weights")
    empty = {section: {key: None} for section, key in (text.split(".") for text in keys)}
    path.write_text(json.dumps({"profiles": {"folder": empty}}))
    apply_overrides(path, [option])
    section = read_yaml(path.read_text())["profiles"]["folder"]
    (value,) = (section[one][key] for one in section for key in section[one] if section[one][key])
    return value


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_arrives_as_it_was_typed(make, tmp_path, path):
    (first, *others), _ = make("annotate", f"ROOT={path}", "BUDGET=500", "SET=-S 'a=b c'")
    assert first[:4] == ["exp", "run", "--force", "--single-item"]
    assert first[4:9] == ["-S", "profile=folder", "-S", "budget=500", "-S"]
    assert as_dvc_reads(first[9], tmp_path) == path
    assert first[10:] == ["-S", "a=b c", "download", "labels"]
    assert others == [["scripts/close_batch.py"], ["exp", "run", "annotate"]]


def test_labels_and_an_encoder_do_likewise(make, tmp_path):
    path = "/my 'labels' $(touch evil).csv"
    (first, *others), _ = make("train", f"LABELS={path}", "SET=-S 'a=b c'")
    assert first[:4] == ["exp", "run", "--force", "--single-item"]
    assert as_dvc_reads(first[5], tmp_path) == path
    assert first[6:] == ["-S", "a=b c", "labels"]
    assert others[0] == ["scripts/close_batch.py"]
    encoder = f"resnet50:{path}"
    words = ("annotate", "ROOT=/x", "BUDGET=5", f"LABELS={path}", f"ENCODER={encoder}")
    (*_, first, _, _), _ = make(*words)
    given = [as_dvc_reads(option, tmp_path) for option in first[9:15:2]]
    assert given == ["/x", path, encoder]


@pytest.mark.parametrize("path", ["/a\ntouch evil", "/a'\ntouch evil\n'", "/a\\b", "/${b}", "/a\\"])
def test_what_dvc_cannot_carry_is_refused(make, path):
    _, message = make("annotate", f"ROOT={path}", "BUDGET=500")
    assert "ROOT holds a line break, a backslash or ${, which DVC's -S cannot carry" in message


def test_what_is_missing_is_named(make):
    assert "ROOT is not given" in make("annotate", "BUDGET=5")[1]
    assert "LABELS is not given" in make("train")[1]


@pytest.mark.parametrize(
    "budget", ["", "many", "5; touch evil", "5\ntouch evil", "$(touch evil)", "$(shell touch evil)"]
)
def test_a_budget_is_a_number(make, budget):
    assert "BUDGET must be a number" in make("annotate", "ROOT=/x", f"BUDGET={budget}")[1]


def test_verify_names_the_damaged_objects_of_the_cache(tmp_path):
    project = Project(tmp_path / "project", clean_environment(tmp_path / "home"))
    (project.root / ".venv").mkdir(parents=True)
    for name in ("requirements.txt", "pyproject.toml", ".venv/installed"):
        (project.root / name).touch()
    shutil.copy(ROOT / "Makefile", project.root)
    (project.root / "folder").mkdir()
    for name in ("folder/pixels", "weights"):
        (project.root / name).write_text(name)
    project.run("dvc", "init", "--quiet", "--no-scm")
    project.run("dvc", "config", "cache.dir", tmp_path / "elsewhere")
    project.run("dvc", "add", "folder", "weights")
    verify = ("make", "verify", f"BIN={BIN}")
    project.run(*verify)

    objects = sorted((tmp_path / "elsewhere").rglob("??/*"))
    assert len(objects) == 3  # the folder's list is one
    for file in objects[1:]:
        content = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    # What DVC is about to rename, once it is whole.
    objects[0].with_name(".HbeUV6qnCVnZbuJbVBvyHp.tmp").write_text("half")
    done = project.call(*verify)
    assert done.returncode != 0
    damaged = [f"{file.parent.name}/{file.name}: FAILED" for file in objects[1:]]
    assert sorted(done.stdout.splitlines()[-2:]) == damaged
