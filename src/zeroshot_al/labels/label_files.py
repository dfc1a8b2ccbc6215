"""Labels as annotators hand them over: a CSV, or what Label Studio exports as JSON.

References
----------
Label Studio's "Raw JSON format of completed tasks" and its exports JSON and JSON_MIN, as
label-studio-sdk 2.1.2 writes them.
"""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.sources.user_files import parse_table, read_text

CONTROL = "label"  # name of the <Choices> in label_studio_config.xml
COLUMNS = ("image_id", "id", "path")  # that can name an image, the first that is filled


class Answer(NamedTuple):
    """What one row or one annotation says.

    Parameters
    ----------
    name : str
        The image as the file names it.
    is_path : bool
        Whether that is a path; else it is an id.
    labels : tuple of str
        One is due; none was given by who skipped the image.
    where : str
        Place in the file.
    """

    name: str
    is_path: bool
    labels: tuple[str, ...]
    where: str


def read_answers(path: str | Path) -> list[Answer]:
    """Read a .json file as an export of Label Studio, any other as CSV.

    Parameters
    ----------
    path : path
        A CSV has a column `label` and one of `id`, `path` and `image_id`. JSON is a list of tasks
        made of our label_studio.json, in either of Label Studio's JSON formats.

    Raises
    ------
    InputError
        If the file cannot be read or is neither.
    """
    path = expanded(path)
    text = read_text(path, "labels.file")
    return (_from_json if path.suffix.lower() == ".json" else _from_csv)(text, path)


def _from_csv(text: str, path: Path) -> list[Answer]:
    found, rows = parse_table(text, path)
    # Label Studio's own CSV has its task numbers as `id`.
    columns = [column for column in COLUMNS if column in found]
    if CONTROL not in found or not columns:
        raise InputError(
            f"{path} has the columns {', '.join(found) or 'of no name'}; it needs label and one of "
            "id and path, with commas between"
        )
    answers = []
    for number, row in enumerate(rows, start=1):
        column = next((column for column in columns if row[column]), columns[0])
        label = row[CONTROL] or ""
        labels = (label,) if label.strip() else ()
        answers.append(Answer(row[column] or "", column == "path", labels, f"row {number}"))
    return answers


def _from_json(text: str, path: Path) -> list[Answer]:
    try:
        tasks = json.loads(text, object_pairs_hook=_without_repetition)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); export it anew") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply for labels; export it anew") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{path} is not a list of tasks; export it from Label Studio as JSON")
    answers = []
    for number, task in enumerate(tasks, start=1):
        given = task.get("id")
        where = f"task {given if isinstance(given, int) else number}"
        data = task.get("data", task)
        name = data.get("image_id") if isinstance(data, dict) else None
        if not isinstance(name, str):
            raise InputError(
                f"{where} of {path} has no image_id; export a project made of label_studio.json"
            )
        try:
            found = _annotations(task) if "annotations" in task else [_labels(task.get(CONTROL))]
            "".join((name, *itertools.chain(*found))).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{where} of {path} holds half of a character, \\ud800 to \\udfff; export it anew"
            ) from None
        # A value that is no list, object or text where one is due.
        except (AttributeError, TypeError):
            raise InputError(
                f"{where} of {path} is not as Label Studio exports it; export it anew"
            ) from None
        # A task that nobody has opened has no annotation: as good as one that was skipped.
        answers += [Answer(name, False, labels, where) for labels in found or [()]]
    return answers


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its pairs; json itself would keep the last of two alike keys."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} stands twice in one object")
    return found


def _annotations(task: dict) -> list[tuple[str, ...]]:
    """Labels of each annotation of the long format; predictions are nobody's labels."""
    return [
        ()
        if annotation.get("was_cancelled")
        else tuple(
            choice
            for result in annotation.get("result", ())
            if result.get("type") == "choices" and result.get("from_name") == CONTROL
            for choice in _labels(result.get("value", {}))
        )
        for annotation in task["annotations"]
    ]


def _labels(value: object) -> tuple[str, ...]:
    """Labels that a value stands for: a text, a list of texts, or an object with such choices."""
    if isinstance(value, dict):
        value = value.get("choices")
    labels = (value,) if isinstance(value, str) else tuple(value or ())
    if not all(isinstance(label, str) for label in labels):
        raise TypeError("labels are texts")
    return tuple(label for label in labels if label.strip())
