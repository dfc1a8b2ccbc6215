import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from project_copies import Project, clean_environment

SCRIPT = Path(__file__).parents[2] / "scripts/verify_cache.py"
sys.path.insert(0, str(SCRIPT.parent))

from verify_cache import remove_damaged  # noqa: E402


def put(cache, content: bytes, name: bytes, suffix=""):
    digest = hashlib.md5(name).hexdigest()
    file = cache / digest[:2] / (digest[2:] + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.chmod(0o444)
    return file


@pytest.fixture
def project(tmp_path) -> Project:
    """Return a DVC repository that has put nothing into its cache."""
    project = Project(tmp_path / "project", clean_environment(tmp_path / "home"))
    project.root.mkdir()
    project.run("dvc", "init", "--quiet", "--no-scm")
    return project


def verify(project) -> subprocess.CompletedProcess:
    return project.call(sys.executable, SCRIPT)


def test_damaged_objects_are_removed_and_whole_ones_stay(tmp_path):
    whole = [put(tmp_path, b"weights", b"weights"), put(tmp_path, b"[]", b"[]", ".dir")]
    damaged = [put(tmp_path, b"weightt", b"weights 2"), put(tmp_path, b"[", b"[1]", ".dir")]
    # What DVC is about to rename, once it is whole.
    half = whole[0].with_name(".HbeUV6qnCVnZbuJbVBvyHp.tmp")
    half.write_bytes(b"weig")
    found, n_objects = remove_damaged(tmp_path)
    assert set(found) == set(damaged)
    assert n_objects == 4
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {*whole, half}
    assert remove_damaged(tmp_path) == ([], 2)


def test_the_cache_is_where_dvc_has_it_and_its_damage_is_told(project, tmp_path):
    project.run("dvc", "config", "cache.dir", tmp_path / "elsewhere")
    (project.root / "data").write_text("pixels")
    project.run("dvc", "add", "data")
    done = verify(project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("all 1 objects in ")
    (file,) = (tmp_path / "elsewhere").rglob("??/*")
    file.chmod(0o644)
    file.write_text("pixelz")
    done = verify(project)
    assert done.returncode == 1
    assert done.stdout == f"{file} was damaged and is removed\n"
    assert done.stderr.startswith("verify_cache: 1 of 1 objects were damaged; run dvc repro")
    assert not file.exists()


def test_it_waits_for_no_cache_and_no_other_dvc(project, tmp_path):
    done = verify(project)
    assert done.returncode == 1
    assert done.stderr == (
        f"verify_cache: there is no cache at {project.root}/.dvc/cache/files/md5; "
        "run dvc repro or dvc fetch\n"
    )
    damaged = put(project.root / ".dvc/cache/files/md5", b"weightt", b"weights")
    with Repo(project.root).lock:
        done = verify(project)
    assert done.returncode == 1
    assert done.stderr == ("verify_cache: another DVC is writing; run again when it has ended\n")
    assert damaged.exists()
    elsewhere = Project(tmp_path, project.env).call(sys.executable, SCRIPT)
    assert elsewhere.returncode == 1
    assert elsewhere.stderr.startswith("verify_cache: ")
    assert elsewhere.stderr.count("\n") == 1
