"""Stages at once by the commands of docs/SHARING.md: each runs once, and nothing is stale after."""

import subprocess

from pipeline.small_pipeline import install_small_pipeline, trace


def test_two_stages_at_once_and_then_the_rest(fresh_project):
    project = fresh_project("side_by_side")
    install_small_pipeline(project)
    project.run("dvc", "repro", "first")
    # Each waits for the other: they can only end if they run at once.
    waits = {
        "LEFT_WAITS": "grep -q 'start right' trace",
        "RIGHT_WAITS": "grep -q 'start left' trace",
    }
    both = [
        subprocess.Popen(
            ["dvc", "--wait-for-lock", "repro", "--single-item", stage],
            cwd=project.root,
            env=project.env | waits,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for stage in ("left", "right")
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    project.run("dvc", "repro")
    ran = ["first", "last", "left", "right"]
    assert sorted(trace(project)) == [f"{what} {name}" for what in ("end", "start") for name in ran]
    assert project.run("dvc", "status", "--json").strip() == "{}"
