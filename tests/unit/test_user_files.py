"""What a user hands over as text: read as it is, or refused in one sentence, never waited for."""

import os
from pathlib import Path

import pytest

from refusals import refusal
from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.base.files import expanded
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
