"""Stages run without DVC, stopped, continued, cut into parts, and committed to DVC elsewhere."""

import json
import shutil

import numpy as np
import pytest

STAGES = ["pretrain_moco", "embed", "kcenter_order"]


@pytest.fixture(scope="module")
def away(finished, tmp_path_factory):
    """Return a project with the pool alone, as on a machine without DVC, after a run there."""
    project = finished.copy(tmp_path_factory.mktemp("away") / "project")
    for path in ("models/moco.safetensors", "data/embeddings", "data/orders"):
        target = project.root / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return project


def gpu_run(project, *arguments):
    return project.call("python", "scripts/gpu_run.py", *arguments)


def packed(project, into, *options):
    done = gpu_run(project, "pack", "--into", into, "--part-mib", "0.1", *options, *STAGES)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_stopped_continued_carried_home_and_committed(away, finished, tmp_path):
    stopped = gpu_run(away, "run", "--minutes", "0.01", *STAGES)
    assert stopped.returncode == 75
    assert "pretrain_moco: the time is up" in stopped.stderr
    assert not (away.root / "models/moco.safetensors").exists()
    done = gpu_run(away, "run", "--minutes", "10", *STAGES)
    assert done.returncode == 0, done.stderr
    again = gpu_run(away, "run", "--minutes", "10", *STAGES)
    assert again.stdout.count("finished already") == len(STAGES)

    first, rest = tmp_path / "first", tmp_path / "rest"
    assert "--first 2" in packed(away, first, "--count", "2")
    packed(away, rest, "--first", "2")
    assert max(file.stat().st_size for file in rest.glob("part-*")) <= 0.1 * 2**20

    home = finished.copy(tmp_path / "home")
    before = home.outs()
    part_of = gpu_run(home, "unpack", first)
    assert part_of.returncode == 1
    assert "part 2 of" in part_of.stderr
    assert home.outs() == before
    done = gpu_run(home, "unpack", first, rest)
    assert done.returncode == 0, done.stderr
    after = home.outs()
    assert after["models/moco.safetensors"] == before["models/moco.safetensors"]
    there, here = (project.root / "data/embeddings/moco.npy" for project in (away, home))
    assert there.read_bytes() == here.read_bytes()
    rows = np.load(here)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, rows.astype(np.float16).astype(np.float32))
    runs = json.loads((home.root / "metrics/runs.json").read_text())["runs"]
    assert [(run["stage"], run["finished"]) for run in runs] == [
        ("pretrain_moco", False), *((stage, True) for stage in STAGES)
    ]  # fmt: skip
    home.run("dvc", "commit", "--force", *STAGES)
    changed = json.loads(home.run("dvc", "status", "--json"))
    assert not set(changed) & set(STAGES)


def test_an_unfinished_stage_travels_as_its_checkpoint(finished, tmp_path):
    away = finished.copy(tmp_path / "away")
    state = ".checkpoints/pretrain_moco/0123/state.safetensors"
    (away.root / state).parent.mkdir(parents=True)
    (away.root / state).write_bytes(bytes(range(256)) * 1000)
    packed(away, tmp_path / "parts")
    home = finished.copy(tmp_path / "home")
    done = gpu_run(home, "unpack", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    assert (home.root / state).read_bytes() == (away.root / state).read_bytes()


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "src/download.py", "data/../src/evil"])
def test_a_manifest_writes_only_what_a_stage_writes(finished, tmp_path, path):
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "part-000").write_bytes(b"x")
    entry = {"path": path, "bytes": 1, "sha256": "?"}
    (parts / "manifest.json").write_text(json.dumps({"n_parts": 1, "files": [entry]}))
    done = gpu_run(finished, "unpack", parts)
    assert done.returncode == 1
    assert "is no file that a stage writes" in done.stderr


def test_other_bytes_are_refused(finished, tmp_path):
    home = finished.copy(tmp_path / "home")
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "part-000").write_bytes(b"x")
    entry = {"path": "models/moco.safetensors", "bytes": 1, "sha256": "0" * 64}
    (parts / "manifest.json").write_text(json.dumps({"n_parts": 1, "files": [entry]}))
    before = home.outs()
    done = gpu_run(home, "unpack", parts)
    assert done.returncode == 1
    assert "models/moco.safetensors came out with other bytes" in done.stderr
    assert home.outs() == before


def test_an_unknown_stage_is_told(finished):
    done = gpu_run(finished, "run", "--minutes", "1", "pretrain_mocco")
    assert done.returncode == 1
    assert "'pretrain_mocco' is none of dvc.yaml's" in done.stderr
