"""What a user hands over as text: read as it is, or refused in one sentence, never waited for."""

import os
from pathlib import Path

import pytest

from refusals import refusal
from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.base.files import expanded
from zeroshot_al.sources import user_files
from zeroshot_al.sources.folder import list_folder
from zeroshot_al.sources.user_files import open_regular, read_text


def test_a_home_is_found_and_an_unknown_user_is_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a") == Path("/home/me/a")
    assert expanded("~nobody whom we know/a") == Path("~nobody whom we know/a")
    with pytest.raises(InputError, match="is not a folder"):
        list_folder("~nobody whom we know/a")


def test_a_text_keeps_its_line_ends_and_loses_its_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffa\r\nb\rü\n".encode())
    assert read_text(tmp_path / "a.txt", "labels.file") == "a\r\nb\rü\n"


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    with open(path, "wb") as file:
        file.truncate(2**40)  # takes no space
    told = refusal(read_text, path, "labels.file")
    assert "labels.file" in told
    assert "holds 1,099,511,627,776 bytes, more than 1,073,741,824" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/zero"):
        assert "cannot be read (not a regular file)" in refusal(read_text, path, "labels.file")
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(path)
    assert "(Is a directory)" in refusal(read_text, tmp_path, "labels.file")


def test_an_error_is_one_line_and_drives_no_terminal():
    name = "a\nb\r\x1b[31m\u202egpj\u2028ü 日本.png"
    assert str(InputError(f"{name} is bad")) == (r"a\nb\r\x1b[31m\u202egpj\u2028ü 日本.png is bad")
    assert printable("plain, ü") == "plain, ü"


def test_the_limit_is_far_above_real_lists():
    a_million_ids = sum(len(f"folder {i}/photo {i}.jpg,airplane\n") for i in range(1000)) * 1000
    assert a_million_ids * 10 < user_files.MAX_BYTES
