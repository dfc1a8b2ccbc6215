"""Labels as annotators hand them over: a CSV, or what Label Studio exports as JSON.

References
----------
Label Studio's "Raw JSON format of completed tasks" and its exports JSON, JSON_MIN and CSV, as
label-studio-sdk 2.1.2 writes them.
"""

import json
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.sources.spreadsheet import quote_cell, read_table, unquote_cell
from zeroshot_al.sources.user_files import read_text

CONTROL = "label"  # name of the <Choices> in label_studio_config.xml
# That can name an image, the first that is filled. Label Studio writes its own number of the task
# as `id`, beside the `image` of a project that was not made of ours.
COLUMNS = ("image_id", "image", "id", "path")
_SERVED = "/data/local-files/?d="  # before the path of a file that Label Studio serves
OPTION = "labels.file"


class Answer(NamedTuple):
    """What one row or one annotation says."""

    name: str  # the image as the file names it
    is_path: bool  # whether that is a path; else it is an id
    labels: tuple[str, ...]  # one is due; none was given by who skipped the image
    where: str  # place in the file


def read_answers(files: str) -> list[Answer]:
    """Read a .json file as an export of Label Studio, any other as CSV.

    Parameters
    ----------
    files : str
        The file, or several with blanks between them, quoted where they hold blanks themselves.
        A CSV has a column `label` and one of `id`, `path`, `image` and `image_id`. JSON is a list
        of tasks made of our label_studio.json, in either of Label Studio's JSON formats.

    Raises
    ------
    InputError
        If a file cannot be read or is neither.
    """
    paths = _parted(files)
    answers = []
    for path in paths:
        found = _from_json(path) if path.suffix.lower() == ".json" else _from_csv(path)
        of_which = f" of {path.name}" if len(paths) > 1 else ""
        answers += [answer._replace(where=answer.where + of_which) for answer in found]
    return answers


def _parted(files: str) -> list[Path]:
    """Take a text for one path if there is such a file, or else for several."""
    if not expanded(files).exists():
        try:
            return [expanded(path) for path in shlex.split(files)]
        except ValueError:  # a quote that does not end: no list of paths
            pass
    return [expanded(files)]


def _from_csv(path: Path) -> list[Answer]:
    found, rows = read_table(path, OPTION)
    columns = [column for column in COLUMNS if column in found]
    if CONTROL not in found or not columns:
        raise InputError(
            f"{path} has the columns {', '.join(found) or 'of no name'}; it needs label and one of "
            "id and path; rename them"
        )
    answers = []
    labels_of = cache(_labels_of_cell)  # few differ
    for number, row in rows.items():
        column = next((column for column in columns if row[column]), columns[0])
        labels = labels_of(row[CONTROL])
        name = row[column].rpartition(_SERVED)[2] if column == "image" else row[column]
        answers.append(Answer(name, column in ("image", "path"), labels, f"row {number}"))
    return answers


def _labels_of_cell(cell: str) -> tuple[str, ...]:
    """Read a label; Label Studio writes several of one image as JSON, our page formulas quoted."""
    plain = unquote_cell(cell)
    if plain != cell == quote_cell(plain):
        return tuple(_labels(plain))
    if cell.startswith(("{", "[")):
        try:
            value = json.loads(cell)
            if isinstance(value, list) or "choices" in value:
                return tuple(_labels(value))
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass  # a name like any other
    return tuple(_labels(cell))


def _from_json(path: Path) -> list[Answer]:
    text = read_text(path, OPTION)
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); export it again") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{path} is not a list of tasks; export it from Label Studio as JSON")
    found = [one for n, task in enumerate(tasks, start=1) for one in _read_task(task, n, path)]
    control = _choose_control({name for _, choices in found for name in choices}, path)
    return [answer._replace(labels=tuple(made.get(control, ()))) for answer, made in found]


def _read_task(task: dict, number: int, path: Path) -> list[tuple[Answer, dict[str, list[str]]]]:
    """Return an answer without labels for each annotation, and its labels by control."""
    given = task.get("id")
    where = f"task {given if isinstance(given, int) else number}"
    data = task.get("data", task)
    image_id = data.get("image_id") if isinstance(data, dict) else None
    if not isinstance(image_id, str):
        raise InputError(
            f"{where} of {path} has no image_id; export a project made of label_studio.json"
        )
    try:
        if "annotations" in task:
            annotations = [_choices(annotation) for annotation in task["annotations"]]
        else:
            annotations = [{CONTROL: _labels(task.get(CONTROL))}]
        texts = (text for made in annotations for name in made for text in (name, *made[name]))
        "".join((image_id, *texts)).encode()
    # A value of another type than is due, or a text with half of a character.
    except (AttributeError, TypeError, UnicodeEncodeError):
        raise InputError(
            f"{where} of {path} is not as Label Studio exports it; export it again"
        ) from None
    # A task that nobody has opened has no annotation: as good as one that was skipped.
    return [(Answer(image_id, False, (), where), made) for made in annotations or [{}]]


def _choices(annotation: dict) -> dict[str, list[str]]:
    """Labels of an annotation in the long format, by control; predictions are nobody's labels."""
    found: dict[str, list[str]] = {}
    for result in () if annotation.get("was_cancelled") else annotation.get("result", ()):
        if result.get("type") == "choices":
            found.setdefault(result.get("from_name"), []).extend(_labels(result.get("value")))
    return found


def _choose_control(names: set[str], path: Path) -> str:
    """Choose `CONTROL`, or the only control that there is."""
    if CONTROL in names or not names:
        return CONTROL
    if len(names) > 1:
        raise InputError(
            f"{path} holds choices of {', '.join(map(repr, sorted(names)))}, and none is named "
            f"{CONTROL!r}; export CSV and rename the column of the classes to {CONTROL}"
        )
    return names.pop()


def _labels(value: object) -> list[str]:
    """Labels that a value stands for: a text, an object with such choices, or a list of these."""
    labels: list = []
    for item in value if isinstance(value, list) else [value]:
        choices = item.get("choices") if isinstance(item, dict) else [item]
        labels += choices if isinstance(choices, list) else [choices]
    labels = [label for label in labels if label is not None]
    if not all(isinstance(label, str) for label in labels):
        raise TypeError("labels are texts")
    return [label.strip() for label in labels if label.strip()]
