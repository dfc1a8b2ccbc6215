"""Two machines train one experiment side by side, through a remote; a third collects it."""

import sys

import pytest

from pipeline.conftest import Project
from pipeline.stand_in import install_stand_in

SHARED = {"download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order", "labels"}
FIRST_HALF = {f"train_budget@{budget}" for budget in range(5_000, 15_001, 2_500)}
SECOND_HALF = {f"train_budget@{budget}" for budget in range(17_500, 25_001, 2_500)}
BASELINES = {"baseline_random", "baseline_coreset"}
COLLECTORS = {"annotate", "class_histograms", "learning_curves"}
PUSH = (sys.executable, "scripts/push_runs.py")


@pytest.fixture
def clone(fresh_project, tmp_path):
    """Return a function that clones the project, with a remote and a stand-in for its scripts."""
    project = fresh_project("remotes")
    (project.root / "dvc.lock").unlink()
    install_stand_in(project, tmp_path)
    project.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "store"))
    project.commit()

    def make(name: str) -> Project:
        project.run("git", "clone", "--quiet", str(project.root), str(tmp_path / name))
        return Project(tmp_path / name, project.env)

    return make


def ran(project: Project, *command: str) -> set[str]:
    """Run DVC and return the stages whose commands ran."""
    log = project.root.parent / f"{project.root.name}_ran"
    log.unlink(missing_ok=True)
    project.run("dvc", *command, RAN=str(log))
    return set(log.read_text().split()) if log.exists() else set()


def test_two_machines_share_one_experiment_and_a_third_collects_it(clone, tmp_path):
    first = clone("first")
    assert ran(first, "repro", "kcenter_order", "labels") == SHARED
    first.run(*PUSH)

    # Nothing passes between the machines but the remote: no commit, no dvc.lock.
    second = clone("second")
    half = SECOND_HALF | {"baseline_coreset"}
    assert ran(second, "repro", "--pull", *half) == half
    half = FIRST_HALF | {"baseline_random"}
    assert ran(first, "repro", *half) == half
    for machine in (first, second):
        assert "runs are shared" in machine.run(*PUSH)

    third = clone("third")
    assert ran(third, "repro", "--pull") == COLLECTORS
    third.run(*PUSH)
    assert ran(clone("fourth"), "repro", "--pull") == set()

    alone = clone("alone")
    assert ran(alone, "repro") == SHARED | FIRST_HALF | SECOND_HALF | BASELINES | COLLECTORS
    assert alone.outs() == third.outs()
    assert (alone.root / "dvc.lock").read_bytes() == (third.root / "dvc.lock").read_bytes()

    # If both commit, either dvc.lock will do: the runs of both are in the remote.
    for machine in (first, second):
        machine.commit()
    merge = first.call("git", "pull", "--no-rebase", "--no-edit", str(second.root), "HEAD")
    assert "CONFLICT (add/add): Merge conflict in dvc.lock" in merge.stdout
    first.run("git", "checkout", "--ours", "dvc.lock")
    assert ran(first, "repro", "--pull") == set()
    assert first.outs() == third.outs()
    assert first.run("dvc", "status", "--json").strip() == "{}"


def test_without_a_remote_it_says_so(fresh_project):
    done = fresh_project("no_remote").call(*PUSH)
    assert done.returncode == 1
    assert done.stderr.startswith("push_runs: nothing shared: ")
    assert "remote" in done.stderr
    assert "Traceback" not in done.stderr
