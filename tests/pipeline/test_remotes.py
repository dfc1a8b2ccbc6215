"""Two machines train one experiment side by side, through a remote; a third collects it."""

import sys

import pytest

from pipeline.conftest import Project
from pipeline.small_pipeline import install_small_pipeline, trace
from pipeline.stand_in import install_stand_in

SHARED = {"download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order"}
SHARED |= {"labels", "predict", "zero_shot_order"}
FIRST_HALF = {f"train_budget@{budget}" for budget in range(5_000, 15_001, 2_500)}
SECOND_HALF = {f"train_budget@{budget}" for budget in range(17_500, 25_001, 2_500)}
BASELINES = {"baseline_random", "baseline_coreset"}
COLLECTORS = {"annotate", "class_histograms", "learning_curves"}
PUSH = (sys.executable, "scripts/push_runs.py")


@pytest.fixture
def hub(fresh_project, tmp_path) -> Project:
    """Return a project to clone, with a remote, in which nothing has run."""
    project = fresh_project("remotes")
    project.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "store"))
    return project


@pytest.fixture
def clone(hub, tmp_path):
    """Return a function that makes a clone under a name."""

    def make(name: str) -> Project:
        hub.run("git", "clone", "--quiet", str(hub.root), str(tmp_path / name))
        return Project(tmp_path / name, hub.env)

    return make


def test_what_one_machine_ran_no_other_runs(hub, clone):
    install_small_pipeline(hub)
    hub.commit()
    first, second, third = clone("first"), clone("second"), clone("third")
    first.run("dvc", "repro", "right")
    assert "2 runs are shared; 3 files were new to the remote" in first.run(*PUSH)
    second.run("dvc", "repro", "--pull", "left")
    assert trace(second) == ["start left", "end left"]
    second.run(*PUSH)
    third.run("dvc", "repro", "--pull")
    assert trace(third) == ["start last", "end last"]
    assert (third.root / "metrics/right.json").read_text() == '{"right": 1}\n'
    assert third.run("dvc", "status", "--json").strip() == "{}"


def ran(project: Project, *command: str) -> set[str]:
    """Run DVC and return the stages whose commands ran."""
    log = project.root.parent / f"{project.root.name}_ran"
    log.unlink(missing_ok=True)
    project.run("dvc", *command, RAN=str(log))
    return set(log.read_text().split()) if log.exists() else set()


@pytest.mark.slow
def test_two_machines_share_the_experiment_and_a_third_collects_it(hub, clone, tmp_path):
    install_stand_in(hub, tmp_path)
    (hub.root / "dvc.lock").unlink()
    hub.commit()
    first = clone("first")
    assert ran(first, "repro", "kcenter_order", "zero_shot_order") == SHARED
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
