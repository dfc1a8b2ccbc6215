"""Labels as annotators hand them over: a CSV, or what Label Studio exports as JSON.

References
----------
Label Studio's "Raw JSON format of completed tasks" and its exports JSON and JSON_MIN, as
label-studio-sdk 2.1.2 writes them.
"""

import json
from pathlib import Path
from typing import NamedTuple

from zeroshot_al.errors import InputError
from zeroshot_al.user_files import parse_table, read_text

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
    path = Path(path).expanduser()
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
        tasks = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON ({error}); export it anew") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{path} is not a list of tasks; export it from Label Studio as JSON")
    answers = []
    for number, task in enumerate(tasks, start=1):
        where = f"task {task.get('id', number)}"
        data = task.get("data", task)
        name = data.get("image_id") if isinstance(data, dict) else None
        if not isinstance(name, str):
            raise InputError(
                f"{where} of {path} has no image_id; export a project made of label_studio.json"
            )
        found = _annotations(task) if "annotations" in task else [_short(task)]
        # A task that nobody has opened has no annotation: as good as one that was skipped.
        answers += [Answer(name, False, labels, where) for labels in found or [()]]
    return answers


def _annotations(task: dict) -> list[tuple[str, ...]]:
    """Labels of each annotation of the long format; predictions are nobody's labels."""
    return [
        ()
        if annotation.get("was_cancelled")
        else tuple(
            str(choice)
            for result in annotation.get("result", ())
            if result.get("type") == "choices" and result.get("from_name") == CONTROL
            for choice in result.get("value", {}).get("choices", ())
        )
        for annotation in task["annotations"]
    ]


def _short(task: dict) -> tuple[str, ...]:
    """Labels of the one annotation in a record of JSON_MIN: a text, or a list of choices."""
    value = task.get(CONTROL)
    if isinstance(value, dict):
        value = value.get("choices")
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(map(str, value or ()))
