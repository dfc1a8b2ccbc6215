"""Tables as spreadsheets save them: read in every form, or refused in one sentence."""

import codecs
import csv
import io
import re
import unicodedata

import pytest

from refusals import refusal
from zeroshot_al.sources.spreadsheet import (
    IdLookup,
    quote_cell,
    read_own_table,
    read_table,
    unquote_cell,
    write_table,
)

ROWS = [["a,1.png", "cät"], ["b;\t2.png", 'of "them"'], ["two\r\nlines.png", "dog"], ["ü.png", ""]]
BIG_ENDIAN = "utf-16-be with its mark"


def save(path, rows, encoding="utf-8", separator=",", end="\r\n", before=""):
    """Save a table as a spreadsheet does."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    text = before + text.getvalue()
    marked = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    path.write_bytes(marked if encoding == BIG_ENDIAN else text.encode(encoding))
    return path


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", BIG_ENDIAN, "cp1252"])
def test_every_encoding_separator_and_line_end_is_read(tmp_path, encoding, separator, end):
    path = save(tmp_path / "a.csv", [["id", "label"], *ROWS], encoding, separator, end)
    names, rows = read_table(path, "labels.file")
    assert names == ["id", "label"]
    assert list(rows) == [2, 3, 4, 5]
    assert [[row["id"], row["label"]] for row in rows.values()] == ROWS


@pytest.mark.parametrize("hint", ["sep=;\r\n", '"sep=;"\n', "SEP=;\r\n", "sep=|\n", "sep=\t\n"])
def test_the_first_line_can_name_the_separator(tmp_path, hint):
    separator = hint.strip('"\r\n')[-1]
    rows = [["id,label", "label"], ["a", "b"]]
    path = save(tmp_path / "a.csv", rows, separator=separator, before=hint)
    assert read_table(path, "labels.file")[1] == {2: {"id,label": "a", "label": "b"}}


def test_blank_rows_and_columns_are_left_out_and_the_others_keep_their_numbers(tmp_path):
    blank = [[], *[["", " ", "", ""]] * 800]
    rows = [[], ["id ", " label", "", ""], ["a", "cat", "", ""], *blank, ["b"]]
    names, found = read_table(save(tmp_path / "a.csv", rows, separator=";"), "labels.file")
    assert names == ["id", "label", "", ""]
    assert {n: (row["id"], row["label"]) for n, row in found.items()} == {
        3: ("a", "cat"),
        805: ("b", ""),
    }


def test_windows_1252_is_read_with_a_warning(tmp_path, caplog):
    save(tmp_path / "a.csv", [["id", "label"], ["a", "Äpfel"]], "cp1252")
    read_table(tmp_path / "a.csv", "labels.file")
    assert "a.csv is not UTF-8: read as Windows-1252, such as 'Äpfel'" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4\x14\0\6\0", "is a workbook, not text; save it as CSV UTF-8"),
        (bytes.fromhex("d0cf11e0a1b11ae1"), "is a workbook, not text; save it as CSV UTF-8"),
        *(
            (f"id,label\na,{text}\n".encode(encoding), "is not UTF-8 text; save it as UTF-8")
            for text, encoding in (
                ("собака", "cp1251"),
                ("σκύλος", "cp1253"),
                ("犬と猫", "shift_jis"),
                ("小狗", "gbk"),
                ("강아지", "euc-kr"),
                ("Äpfel", "mac-roman"),
            )
        ),
        ("id,label\na,cät\n".encode() + b"\xfc,cat\n", "is not UTF-8 text; save it as UTF-8"),
        ("id\n".encode("utf-16")[:-1], "is not UTF-8 text"),
        ("id\n".encode("utf-16-le"), "holds NUL bytes"),
        (b"id,label,label\na,cat,dog\n", "names the column 'label' twice"),
        (b"id,label\na,1.png,cat\n", "row 2 of .* has 3 cells for 2 columns; put double quotes"),
        (b'id,label\n"a"b,cat\n', "is not CSV near its row 2"),
        (b"id,label\n" + b"x" * 10**6, "is not CSV near its row 2 .field larger than field limit"),
        (b"x" * 10**6, "is not CSV near its row 1"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    assert re.search(message, refusal(read_table, tmp_path / "a.csv", "labels.file"))


def test_tables_for_people_have_a_mark_and_come_back(tmp_path):
    rows = [("=1+1", 1), ("'x", 2), ("日本", 3)]
    write_table(tmp_path / "a.csv", ("id", "n"), rows)
    content = (tmp_path / "a.csv").read_bytes()
    assert content == "\ufeffid,n\n'=1+1,1\n''x,2\n日本,3\n".encode()
    found = read_own_table(tmp_path / "a.csv", ("id", "n"))
    assert [(row["id"], int(row["n"])) for row in found] == rows
    (tmp_path / "a.csv").write_bytes(content.removeprefix(codecs.BOM_UTF8))
    assert read_own_table(tmp_path / "a.csv", ("id", "n")) == found


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@", "\tx", "\rx", "\nx", "'x", "''", "\uff1d"])
def test_cells_that_a_spreadsheet_would_run_are_quoted(text):
    assert quote_cell(text) == f"'{text}"
    assert unquote_cell(quote_cell(text)) == text


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("-1.png", {"-1.png"}),
        ("'-1.png", {"-1.png"}),
        (" 'q.png", {"'q.png"}),
        ("caf\u00e9.png ", {"cafe\u0301.png"}),
        ("'=\u00fc", {"=u\u0308"}),
        ("\u00e0", {"\u00e0"}),  # exact, beside one that looks the same
        ("a\u0300", {"a\u0300"}),
        (" \u00e0", {"\u00e0", "a\u0300"}),
        ("'1.png", set()),
        ("Q.png", set()),
    ],
)
def test_an_id_is_found_as_spreadsheets_and_file_systems_write_it(name, found):
    ids = ["-1.png", "'q.png", "cafe\u0301.png", "=u\u0308", "\u00e0", "a\u0300"]
    assert unicodedata.normalize("NFC", ids[-1]) == ids[-2]
    assert IdLookup({one: one for one in ids}).find(name) == found
