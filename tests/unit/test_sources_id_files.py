import pytest

from refusals import refusal
from zeroshot_al.sources.id_files import LABELLED, read_ids, read_paths, without_excluded


def write(path, text, **options):
    path.write_bytes(text.encode(**options) if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_one_id_a_line(tmp_path, end, mark):
    names = ["a.png", "b c.png ", "d,e.png", '"f".png', "g\u2028h.png"]
    path = write(tmp_path / "ids.txt", mark + end.join([*names, "", ""]))
    assert read_ids(path, LABELLED) == names


def test_a_csv_holds_any_id(tmp_path):
    text = '\ufeffscore,id\n1,a.png\n2,"b\nc.png"\n3,"d,""e"".png"\n'
    assert read_ids(write(tmp_path / "ids.CSV", text), "data.ids") == [
        "a.png",
        "b\nc.png",
        'd,"e".png',
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ids.csv", "path\na\n", "has no column 'id'; its first line must name it"),
        ("ids.csv", "", "has no column 'id'"),
        ("ids.csv", "n,id\n1\n", "row 2 of"),
        ("ids.csv", 'id\n"a"b\n', "is not CSV near its row 2"),
        ("ids.txt", b"\x80\n", "is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_file_that_does_not_serve_is_told(tmp_path, name, content, told):
    assert told in refusal(read_ids, write(tmp_path / name, content), "data.ids")


def test_a_missing_file_is_told_with_its_option(tmp_path):
    told = refusal(read_ids, tmp_path / "lost.txt", "data.exclude")
    assert told.startswith("data.exclude '")
    assert told.endswith("lost.txt' cannot be read (No such file or directory); change it")


def test_paths_are_relative_to_the_csv_or_absolute(tmp_path):
    path = write(tmp_path / "a.csv", f"path\nb/c.png\n{tmp_path}/d.png\n")
    found = read_paths(path)
    assert found.root == str(tmp_path)
    assert found.files == {"b/c.png": "b/c.png", f"{tmp_path}/d.png": f"{tmp_path}/d.png"}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("id,path\nx,a.png\nx,b.png\n", "the id 'x' of"),
        ("path\na.png\na.png\n", "the id 'a.png' of"),
        ("id,path\n,a.png\n", "row 2 of"),
        ("file\na.png\n", "has no column 'path'"),
    ],
)
def test_paths_without_distinct_ids_are_told(tmp_path, rows, told):
    assert told in refusal(read_paths, write(tmp_path / "a.csv", rows))


@pytest.mark.parametrize(
    ("option", "found"), [(LABELLED, ["a"]), ("data.exclude", ["a", "b", "c"])]
)
def test_of_a_half_filled_table_only_rows_with_a_label_are_labelled(tmp_path, option, found):
    path = write(tmp_path / "order.csv", "id,label\na,cat\nb,\nc, \n,\n")
    assert read_ids(path, option) == found


def test_excluded_ids_that_are_not_there_are_only_warned_of(tmp_path, caplog):
    path = write(tmp_path / "a.txt", "a\nz\n")
    assert without_excluded(["a", "b"], str(path)) == {"a"}
    assert "1 of 2 excluded ids are not there, the first 'z'" in caplog.text
    assert without_excluded(["a", "b"], None) == set()
    told = refusal(without_excluded, ["x"], str(path))
    assert "none of the 2 excluded ids in" in told
    assert "the first 'a'; write ids as in data/pool/index.csv" in told


def test_ids_are_taken_as_our_own_tables_write_them(tmp_path):
    path = str(write(tmp_path / "order.csv", "id\n'-1.png\n'=b\ncafe\u0301\n'-bad\n"))
    assert without_excluded(["-1.png", "=b", "c", "caf\u00e9"], path) == {
        "-1.png",
        "=b",
        "caf\u00e9",
    }
