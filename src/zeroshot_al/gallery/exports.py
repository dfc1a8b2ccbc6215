"""The picks as files for annotation tools, each in the order of the ranks.

Tools tend to sort what they import by file name. So every export carries the order in a way that
its tool keeps: Label Studio numbers tasks as they stand in the file, and has `rank` to sort by;
CVAT follows a manifest when the task's sorting method is "predefined"; FiftyOne keeps the order of
its samples, and has `rank` too.

`order.csv` is a table for people (`spreadsheet.write_table`). JSON runs nothing and holds the exact
ids.

References
----------
CVAT's "Dataset manifest", version 1.1, and "XML annotation format", version 1.1. Label
Studio's "Basic Label Studio JSON format" and "Import pre-annotated data". FiftyOne's
`Dataset.from_json`.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from zeroshot_al.gallery.guesses import Guess

ORDER_HEADER = (
    "rank",
    "id",
    "path",
    "reason",
    "radius",
    "nearest_earlier",
    "duplicate_group",
    "outlier_score",
)
UNKNOWN_CLASSES = ("first class", "second class")  # to be replaced by the annotator's
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Pick:
    """One image to label.

    Parameters
    ----------
    rank, index, id
        Rank from 0, index and id in the pool.
    name : str
        Of the image's file, relative to the images' folder, with "/"; the id if there is no file.
    path : str
        Of the image's file; "" if there is none.
    size_px : tuple of int
        Width and height as a viewer shows them: turned as the file's EXIF says.
    reason : str
        Why it was picked, as `ChosenOrder.reasons`.
    radius, nearest_earlier
        Distance to the nearest earlier pick, infinite for the first, and its id.
    duplicates : tuple of str
        Ids of the copies of this one, which are not in the pool.
    outlier_score : float
        As `covering_radii.outlier_scores`.
    guess : Guess or None
        Of a model trained on the labels so far; None if there is none.
    """

    rank: int
    index: int
    id: str
    name: str
    path: str
    size_px: tuple[int, int]
    reason: str
    radius: float
    nearest_earlier: str
    duplicates: tuple[str, ...]
    outlier_score: float
    guess: Guess | None = None


def order_rows(picks: Sequence[Pick]) -> Iterator[tuple]:
    """Make the rows of order.csv, under `ORDER_HEADER`.

    `duplicate_group` is the pick's own id if it has copies: the `duplicate_of` of those.
    """
    for pick in picks:
        yield (
            pick.rank,
            pick.id,
            pick.path,
            pick.reason,
            f"{pick.radius:.9g}",
            pick.nearest_earlier,
            pick.id if pick.duplicates else "",
            f"{pick.outlier_score:.6g}",
        )


def plain_list(picks: Sequence[Pick]) -> str:
    """One name a line, for `xargs` and the like.

    A name that begins with a hyphen gets "./" before it: such a program would take it for an
    option. One that holds a line break, or begins with a double quote, stands as a JSON string.
    """
    names = (f"./{pick.name}" if pick.name.startswith("-") else pick.name for pick in picks)
    return "".join(f"{json.dumps(name) if _needs_quotes(name) else name}\n" for name in names)


def _needs_quotes(name: str) -> bool:
    return name.startswith('"') or name.splitlines() != [name]


def label_studio_config(classes: Sequence[str]) -> str:
    """Label Studio's labelling interface: a choice of one class."""
    choices = "".join(f"    <Choice value={_attribute(name)}/>\n" for name in classes)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        '  <Choices name="label" toName="image" choice="single" showInline="true">\n'
        f"{choices}  </Choices>\n</View>\n"
    )


def label_studio_tasks(picks: Sequence[Pick], folder: str, version: str = "") -> list[dict]:
    """Label Studio's tasks: the image's local address, what may be sorted by, and its guess.

    Parameters
    ----------
    picks
    folder : str
        Of the images, relative to `LOCAL_FILES_DOCUMENT_ROOT`; "" for the file system's root.
    version : str
        Of the model that made the guesses.
    """
    address = "/data/local-files/?d="
    tasks = []
    for pick in picks:
        image = address + quote(f"{folder}/{pick.name}".lstrip("/"))
        tasks.append({"data": {"image": image, **_fields(pick)}})
        if pick.guess is not None:
            value = {"choices": [pick.guess.label]}
            choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": value}
            tasks[-1]["predictions"] = [
                {"model_version": version, "score": pick.guess.probability, "result": [choice]}
            ]
    return tasks


def cvat_manifest(picks: Sequence[Pick]) -> str:
    """CVAT's dataset manifest of images, a JSON object a line."""
    lines: list[dict] = [{"version": "1.1"}, {"type": "images"}]
    for pick in picks:
        extension = PurePosixPath(pick.name).suffix
        lines.append(
            {
                "name": pick.name.removesuffix(extension),
                "extension": extension,
                "width": pick.size_px[0],
                "height": pick.size_px[1],
                "meta": {"related_images": []},
            }
        )
    return "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)


def cvat_annotations(picks: Sequence[Pick]) -> str:
    """Guesses as tags in the format "CVAT 1.1", which a task made of the manifest imports."""
    images = []
    for pick in picks:
        # XML cannot hold every character that a name may have: those images get no tag.
        if pick.guess is not None and not NOT_IN_XML.search(pick.name + pick.guess.label):
            width, height = pick.size_px
            images.append(
                f'<image id="{pick.rank}" name={_attribute(pick.name)} width="{width}" '
                f'height="{height}">'
                f'<tag label={_attribute(pick.guess.label)} source="auto"></tag></image>\n'
            )
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
    return f"{head}{''.join(images)}</annotations>\n"


def _attribute(text: str) -> str:
    return quoteattr(NOT_IN_XML.sub("\ufffd", text))


def fiftyone_dataset(picks: Sequence[Pick], name: str) -> dict:
    """Make what `fiftyone.Dataset.from_json` reads, with paths relative to its `rel_dir`."""
    samples = []
    for pick in picks:
        samples.append({"filepath": pick.name, "tags": [], **_fields(pick)})
        if pick.guess is not None:
            label, probability = pick.guess
            samples[-1]["prediction"] = {
                "_cls": "Classification",
                "label": label,
                "confidence": probability,
            }
    return {
        "name": name,
        "media_type": "image",
        "num_samples": len(picks),
        "info": {"order": "samples stand in the order of annotation; sort by rank to restore it"},
        "samples": samples,
    }


def _fields(pick: Pick) -> dict[str, object]:
    """Fields of a pick for every tool. JSON has no infinity: null stands for it.

    `image_id`, because both tools keep `id` for their own, Label Studio in its short exports.
    """
    return {
        "rank": pick.rank,
        "image_id": pick.id,
        "reason": pick.reason,
        "radius": float(pick.radius) if math.isfinite(pick.radius) else None,
        "nearest_earlier": pick.nearest_earlier,
        "duplicates": list(pick.duplicates),
        "outlier_score": float(pick.outlier_score),
    }
