"""Copies of the project to run the pipeline in."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from project_copies import BIN, IDENTITY, Project, clean_environment, fresh_copy, options_of_demo


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Return an environment with an empty HOME and nothing of the user's git, DVC or project."""
    return clean_environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory, environment):
    """Return a function that makes a copy of the tracked files, committed, as a clone would be."""

    def make(name: str) -> Project:
        return fresh_copy(tmp_path_factory.mktemp(name) / "project", environment)

    return make


@pytest.fixture(scope="session")
def demo_options() -> list[str]:
    """Return the Makefile's own options of the demo, and those that lower its counts."""
    return options_of_demo()


@pytest.fixture(scope="session")
def read_logs(tmp_path_factory) -> Path:
    """Return the directory in which each stage of the demo has a file of the paths it read."""
    return tmp_path_factory.mktemp("read")


@pytest.fixture(scope="session")
def make_demo(fresh_project, demo_options, read_logs):
    """Return a function that runs `make demo` with lowered counts, and its project.

    Like a user's, its environment holds no git identity.
    """
    project = fresh_project("demo")
    env = {key: value for key, value in project.env.items() if key not in IDENTITY}
    audit = f"{Path(__file__).parent / 'audit'}{os.pathsep}{env['PYTHONPATH']}"
    project = Project(project.root, env | {"PYTHONPATH": audit, "READ_LOGS": str(read_logs)})
    # The installation is what `make` finds done: the one that the tests run in.
    (project.root / ".venv").mkdir()
    (project.root / ".venv/installed").touch()

    def run() -> subprocess.CompletedProcess:
        return project.call("make", "demo", f"BIN={BIN}", f"DEMO={shlex.join(demo_options)}")

    return run, project


@pytest.fixture(scope="session")
def demo(make_demo):
    """Run `make demo` once; return its output and its project."""
    run, project = make_demo
    done = run()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done, project


@pytest.fixture(scope="session")
def finished(demo, tmp_path_factory) -> Project:
    """Return a project whose workspace holds the demo's experiment. Copy it before a change."""
    project = demo[1].copy(tmp_path_factory.mktemp("finished") / "project")
    project = Project(project.root, project.env | IDENTITY)
    project.run("dvc", "exp", "apply", "demo")
    project.commit()
    return project
