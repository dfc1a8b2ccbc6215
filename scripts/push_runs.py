"""Push every stage that ran here, with all of its outs, so that no other machine repeats it.

    python scripts/push_runs.py        `make share`; elsewhere then `dvc repro --pull`

It is `dvc push --run-cache` and the one thing that lacks: the outs that git keeps (metrics and
plots, `cache: false`). DVC stores them beside the others and could restore a stage from there, but
does not push them (3.67), and without them a stage runs again.
"""

import logging
from pathlib import Path

from dvc.exceptions import DvcException, UploadError
from dvc.repo import Repo

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.stage import run_stage


def push_runs(repo: Repo) -> tuple[int, int]:
    """Push the records of all runs in DVC's cache and the files that they made.

    Returns
    -------
    n_runs, n_files : int
        Runs recorded in the cache, and files that the remote did not have.

    Raises
    ------
    InputError
        If there is no remote, it cannot be written, or it refuses a file.
    """
    try:
        with repo.lock:
            # First the files, so that whoever finds a record finds what it names.
            runs = [
                (file.parent.name, file.name)
                for file in Path(repo.stage_cache.cache_dir).glob("*/*/*")
            ]
            objects = set().union(*repo.stage_cache.get_used_objs(runs).values())
            pushed = repo.cloud.push(objects)
            if pushed.failed:
                raise UploadError(len(pushed.failed))
            repo.stage_cache.push(None)
    except DvcException as error:
        raise InputError(f"nothing shared: {error}") from error
    return len(runs), len(pushed.transferred)


def main() -> None:
    logging.disable(logging.INFO)  # a remote's library tells of every connection
    n_runs, n_files = push_runs(Repo(_wait_for_lock=True))
    print(f"{n_runs} runs are shared; {n_files} files were new to the remote")


if __name__ == "__main__":
    run_stage(main)
