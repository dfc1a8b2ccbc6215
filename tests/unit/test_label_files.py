import json

import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.labels.label_files import Answer, read_answers


def annotation(*choices, cancelled=False, control="label"):
    """One annotation as Label Studio exports it."""
    result = [
        {
            "id": "x",
            "type": "choices",
            "from_name": control,
            "to_name": "image",
            "value": {"choices": list(choices)},
        }
    ]
    return {"id": 1, "was_cancelled": cancelled, "result": result if choices else []}


def task(name, *annotations):
    return {
        "id": 900,
        "data": {"image": "/data/local-files/?d=x", "image_id": name, "rank": 0},
        "annotations": list(annotations),
        "predictions": [annotation("cat")],
    }


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(tmp_path, content, name="labels.csv"):
    return [(a.name, a.is_path, a.labels) for a in read_answers(write(tmp_path / name, content))]


def test_a_csv_of_ids(tmp_path):
    found = read(tmp_path, '\ufeffid,label,note\r\n"a,1.png",cat,x\r\n\'=b.png,,\r\nc.png, \r\n')
    assert found == [("a,1.png", False, ("cat",)), ("'=b.png", False, ()), ("c.png", False, ())]


def test_a_csv_of_paths_and_one_of_both(tmp_path):
    assert read(tmp_path, "path,label\n/photos/a.png,cat\n") == [("/photos/a.png", True, ("cat",))]
    both = "rank,id,path,label\n0,a.png,/x/a.png,cat\n1,,/x/b.png,dog\n"
    assert read(tmp_path, both) == [("a.png", False, ("cat",)), ("/x/b.png", True, ("dog",))]


def test_label_studio_s_csv_is_read_by_image_id(tmp_path):
    text = "annotation_id,annotator,id,image,image_id,label\n1,1,901,/data/x,a.png,cat\n"
    assert read(tmp_path, text) == [("a.png", False, ("cat",))]


def test_label_studio_s_long_json(tmp_path):
    tasks = [
        task("a", annotation("cat")),
        task("b", annotation("cat"), annotation("dog")),
        task("c", annotation("cat", cancelled=True)),
        task("d"),
        task("e", annotation("cat", "dog")),
        task("f", annotation("cat", control="quality")),
        task("=g", annotation()),
    ]
    assert read(tmp_path, tasks, "labels.json") == [
        ("a", False, ("cat",)),
        ("b", False, ("cat",)),
        ("b", False, ("dog",)),
        ("c", False, ()),
        ("d", False, ()),
        ("e", False, ("cat", "dog")),
        ("f", False, ()),
        ("=g", False, ()),
    ]


def test_label_studio_s_short_json(tmp_path):
    """Its `id` is the task's number, whatever the data called `id`."""
    common = {"image": "/data/x", "rank": 0, "id": 900, "annotator": 1, "annotation_id": 1}
    tasks = [
        common | {"image_id": "a", "label": "cat"},
        common | {"image_id": "b", "label": {"choices": ["cat", "dog"]}},
        common | {"image_id": "c"},
    ]
    assert read(tmp_path, tasks, "labels.json") == [
        ("a", False, ("cat",)),
        ("b", False, ("cat", "dog")),
        ("c", False, ()),
    ]


def test_what_looks_odd_is_no_harm(tmp_path):
    tasks = [
        {"id": 10**30, "image_id": "a\u0000\n", "label": "x"},
        {"id": "9\n", "image_id": "=b", "label": [" ", "y"]},
        {"id": [1], "image_id": "c", "label": ""},
    ]
    found = read_answers(write(tmp_path / "x.json", tasks))
    assert [(a.name, a.labels) for a in found] == [("a\0\n", ("x",)), ("=b", ("y",)), ("c", ())]
    assert [a.where for a in found] == [f"task {10**30}", "task 2", "task 3"]


def test_the_place_is_told(tmp_path):
    path = write(tmp_path / "x.csv", "id,label\na,cat\nb,dog\n")
    assert read_answers(path)[1] == Answer("b", False, ("dog",), "row 2")
    path = write(tmp_path / "x.json", [task("a", annotation("cat"))])
    assert read_answers(path)[0].where == "task 900"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.csv",
            "id;label\na;cat\n",
            "has the columns id;label; it needs label and one of id and",
        ),
        ("x.csv", "", "has the columns of no name"),
        ("x.csv", "name,label\na,cat\n", "has the columns name, label; it needs"),
        ("x.csv", 'id,label\n"a,cat\n', "is not CSV near its line"),
        ("x.json", "id,label\n", "is not JSON"),
        ("x.json", {"a": 1}, "is not a list of tasks"),
        ("x.json", [{"id": 3, "data": {"image": "x"}}], "task 3 of .* has no image_id; export"),
        ("x.json", [{"id": 3, "data": "x"}], "task 3 of .* has no image_id; export"),
        # Made to break its reader.
        ("x.json", "[" * 10**6, "is nested too deeply|is not JSON"),
        ("x.json", '{"a":' * 10**5 + "1" + "}" * 10**5, "is nested too deeply"),
        ("x.json", f'[{{"id": 1{"0" * 5000}}}]', "is not JSON .*4300 digits"),
        (
            "x.json",
            '[{"id": 1, "image_id": "a", "label": "x", "label": "y"}]',
            "'label' stands twice",
        ),
        ("x.json", '[{"id": 1, "image_id": "a", "label": "\\ud83d"}]', "holds half of a character"),
        ("x.json", '[{"id": 1, "image_id": "\\udc00", "label": "x"}]', "holds half of a character"),
        ("x.json", '[{"id": 1, "image_id": "a\0b"}]', "holds NUL bytes"),
        *(
            ("x.json", [{"id": 1, "data": {"image_id": "a"}, "annotations": wrong}], "not as Label")
            for wrong in (
                3,
                [3],
                "x",
                [{"result": 3}],
                [{"result": [3]}],
                [annotation(3)],
                [{"result": [{"type": "choices", "from_name": "label", "value": 3}]}],
            )
        ),
        ("x.json", [{"id": 1, "image_id": "a", "label": 3}], "not as Label Studio exports it"),
        ("x.json", [{"id": 1, "image_id": "a", "label": [["x"]]}], "not as Label Studio"),
        ("x.csv", "id,label,label\na,cat,dog\n", "names the column 'label' twice"),
        ("x.csv", "id,label\na\0,cat\n", "holds NUL bytes"),
        ("x.csv", "id,label\n" + "x" * 10**6, "field larger than field limit"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read_answers(write(tmp_path / name, content))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"labels.file .*gone.csv' cannot be read \(No such file"):
        read_answers(tmp_path / "gone.csv")
    (tmp_path / "x.csv").write_bytes(b"id,label\n\xff\xfe,cat\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_answers(tmp_path / "x.csv")
