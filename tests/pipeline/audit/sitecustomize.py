"""Logs what each stage reads: Python runs this at its start where PYTHONPATH holds this folder.

One line a file opened for reading or a directory listed, relative to the project, in $READ_LOGS.
"""

import os
import sys
from pathlib import Path

ROOT = Path.cwd()
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
script = sys.orig_argv[1] if len(sys.orig_argv) > 1 else ""
if script.startswith("src/"):
    os.environ["READING_STAGE"] = Path(script).stem  # for its workers, too


def log_reads(event: str, arguments: tuple) -> None:
    if event in ("os.listdir", "os.scandir") or (event == "open" and not arguments[2] & WRITES):
        path = arguments[0]
        if isinstance(path, str | os.PathLike) and (ROOT / path).is_relative_to(ROOT):
            os.write(log, f"{(ROOT / path).relative_to(ROOT)}\n".encode())


if "READING_STAGE" in os.environ and "READ_LOGS" in os.environ:
    file = Path(os.environ["READ_LOGS"], os.environ["READING_STAGE"])
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.addaudithook(log_reads)
