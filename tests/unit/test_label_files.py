import json

import pytest

from refusals import refusal
from zeroshot_al.labels.label_files import Answer, read_answers


def annotation(*choices, cancelled=False, control="label"):
    """One annotation as Label Studio exports it."""
    result = {
        "id": "x",
        "type": "choices",
        "from_name": control,
        "to_name": "image",
        "value": {"choices": list(choices)},
    }
    return {"id": 1, "was_cancelled": cancelled, "result": [result] if choices else []}


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            'id,label,note\n"a,1.png",cat,x\n\'=b.png,,\nc.png, \n',
            [("a,1.png", False, ("cat",)), ("'=b.png", False, ()), ("c.png", False, ())],
        ),
        ("path,label\n/photos/a.png,cat\n", [("/photos/a.png", True, ("cat",))]),
        (
            "rank,id,path,label\n0,a.png,/x/a.png,cat\n1,,/x/b.png,dog\n",
            [("a.png", False, ("cat",)), ("/x/b.png", True, ("dog",))],
        ),
        (
            "id;label\na;cat\nb; cat\t\nc;\u00a0cat\u3000\n",
            [(name, False, ("cat",)) for name in "abc"],
        ),
        # Label Studio's own: its `id` is the task's number, and several choices are JSON.
        (
            "annotation_id,annotator,id,image,image_id,label\n1,1,901,/data/x,a.png,cat\n",
            [("a.png", False, ("cat",))],
        ),
        (
            "id,image,label\n1,a.png,cat\n2,/data/local-files/?d=photos/b.png,dog\n",
            [("a.png", True, ("cat",)), ("photos/b.png", True, ("dog",))],
        ),
        (
            'id,label\na,"{""choices"":[""cat"", ""dog ""]}"\nb,"[""x"", {""choices"":[""ü""]}]"\n',
            [("a", False, ("cat", "dog")), ("b", False, ("x", "ü"))],
        ),
        # What only looks like it is a name.
        *(
            (f"id,label\na,{name}\n", [("a", False, (name,))])
            for name in ("[cat]", "{x}", "[1]", "{}", '{"x": 1}', "[" * 9999)
        ),
    ],
)
def test_a_csv(tmp_path, text, found):
    assert read(tmp_path, text) == found


def test_several_files(tmp_path):
    first = write(tmp_path / "a b.csv", "id,label\na,cat\n")
    second = write(tmp_path / "b.json", [{"image_id": "a", "label": "dog"}])
    for files in (f"'{first}' {second}", f'"{first}"  {second}'):
        assert read_answers(files) == [
            ("a", False, ("cat",), "row 2 of a b.csv"),
            ("a", False, ("dog",), "task 1 of b.json"),
        ]
    # A file whose name holds blanks or quotes is one file, and needs no quotes.
    for name in ("it's.csv", "a b.csv", f"{first.name} {second.name}.csv"):
        path = write(tmp_path / name, "id,label\na,cat\n")
        assert read_answers(str(path)) == [("a", False, ("cat",), "row 2")]
    assert "lost.csv' cannot be read (No such file" in refusal(read_answers, f"'{first}' lost.csv")
    assert "don't.csv" in refusal(read_answers, "don't.csv")


def test_label_studio_s_long_json(tmp_path):
    tasks = [
        task("a", annotation("cat")),
        task("b", annotation("cat"), annotation(" dog")),
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


def test_a_control_of_another_name_is_taken_if_it_is_the_only_one(tmp_path):
    tasks = [task("a", annotation("cat", control="choice")), task("b")]
    assert read(tmp_path, tasks, "x.json") == [("a", False, ("cat",)), ("b", False, ())]
    tasks[1]["annotations"].append(annotation("sharp", control="quality"))
    message = refusal(read_answers, write(tmp_path / "x.json", tasks))
    assert "holds choices of 'choice', 'quality', and none is named 'label'; export CSV" in message


def test_label_studio_s_short_json(tmp_path):
    """Its `id` is the task's number, whatever the data called `id`."""
    common = {"image": "/data/x", "rank": 0, "id": 900, "annotator": 1, "annotation_id": 1}
    tasks = [
        common | {"image_id": "a", "label": "cat "},
        common | {"image_id": "b", "label": {"choices": ["cat", "dog"]}},
        common | {"image_id": "c"},
        common | {"image_id": "d", "label": [{"choices": ["cat"]}, "dog"]},
    ]
    assert read(tmp_path, tasks, "labels.json") == [
        ("a", False, ("cat",)),
        ("b", False, ("cat", "dog")),
        ("c", False, ()),
        ("d", False, ("cat", "dog")),
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


def test_the_place_is_given_as_the_tools_count(tmp_path):
    path = write(tmp_path / "x.csv", "id,label\na,cat\n,\nb,dog\n")
    assert read_answers(path)[1] == Answer("b", False, ("dog",), "row 4")
    path = write(tmp_path / "x.json", [task("a", annotation("cat"))])
    assert read_answers(path)[0].where == "task 900"


NO_EXPORT = "is not as Label Studio exports it"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has the columns of no name; it needs label and one of id and path"),
        ("name,label\na,cat\n", "has the columns name, label; it needs"),
        ('id,label\n"a,cat\n', "is not CSV near its row"),
        ("id,label,label\na,cat,dog\n", "names the column 'label' twice"),
        ("id,label\na\0,cat\n", "holds NUL bytes"),
        ({"a": 1}, "is not a list of tasks"),
        ([{"id": 3, "data": {"image": "x"}}], "has no image_id; export"),
        ([{"id": 3, "data": "x"}], "task 3 of"),
        # Made to break its reader.
        ('{"a":' * 10**5 + "1" + "}" * 10**5, "is not JSON"),
        (f'[{{"id": 1{"0" * 5000}}}]', "4300 digits"),
        ('[{"id": 1, "image_id": "a", "label": "\\ud83d"}]', NO_EXPORT),
        ('[{"id": 1, "image_id": "\\udc00", "label": "x"}]', NO_EXPORT),
        ('[{"id": 1, "image_id": "a\0b"}]', "holds NUL bytes"),
        *(
            ([{"id": 1, "data": {"image_id": "a"}, "annotations": wrong}], NO_EXPORT)
            for wrong in (3, [3], [{"result": [3]}], [annotation(3)], [annotation("x", control=3)])
        ),
        ([{"id": 1, "image_id": "a", "label": 3}], NO_EXPORT),
        ([{"id": 1, "image_id": "a", "label": {"choices": 3}}], NO_EXPORT),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    is_json = not isinstance(content, str) or content.startswith(("[", "{"))
    path = write(tmp_path / ("x.json" if is_json else "x.csv"), content)
    assert message in refusal(read_answers, path)


def test_what_is_no_json_is_refused(tmp_path):
    assert "is not JSON" in refusal(read_answers, write(tmp_path / "x.json", "id,label\n"))
