"""The picks as files for annotation tools, each in the order of the ranks.

Tools tend to sort what they import by file name. So every export carries the order in a way that
its tool keeps: Label Studio numbers tasks as they stand in the file, and has `rank` to sort by;
CVAT follows a manifest when the task's sorting method is "predefined"; FiftyOne keeps the order of
its samples, and has `rank` too.

`order.csv` is a table for people (`spreadsheet.write_table`). JSON runs nothing and holds the exact
ids.

References
----------
CVAT's "Dataset manifest", version 1.1. Label Studio's "Basic Label Studio
JSON format". FiftyOne's `Dataset.from_json`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import quote

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
LABEL_CONFIG = """\
<View>
  <Image name="image" value="$image"/>
  <Choices name="label" toName="image" choice="single" showInline="true">
    <Choice value="first class"/>
    <Choice value="second class"/>
  </Choices>
</View>
"""


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


def label_studio_tasks(picks: Sequence[Pick], folder: str) -> list[dict]:
    """Label Studio's tasks: the image's local address, and what may be shown or sorted by.

    `folder` is the images', relative to `LOCAL_FILES_DOCUMENT_ROOT`; "" for the file system's root.
    """
    address = "/data/local-files/?d="
    return [
        {"data": {"image": address + quote(f"{folder}/{pick.name}".lstrip("/")), **_fields(pick)}}
        for pick in picks
    ]


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


def fiftyone_dataset(picks: Sequence[Pick], name: str) -> dict:
    """Make what `fiftyone.Dataset.from_json` reads, with paths relative to its `rel_dir`."""
    return {
        "name": name,
        "media_type": "image",
        "num_samples": len(picks),
        "info": {"order": "samples stand in the order of annotation; sort by rank to restore it"},
        "samples": [{"filepath": pick.name, "tags": [], **_fields(pick)} for pick in picks],
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
