"""Read the exports of `annotate` with the annotation tools' own code, and compare the order.

    pip install -r tests/requirements-tools.txt      # in an environment of its own
    python scripts/check_exports.py [data/annotate] [--images FOLDER]

Each tool that is installed reads its file; what it holds must stand as in order.csv. A tool that is
missing, or whose database is, is named. Exit code 1 if an order differs or nothing could be read.
"""

import argparse
import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path


def read_ids(directory: Path) -> list[str]:
    """Ids by rank; order.csv puts one single quote before those that a spreadsheet could run."""
    with open(directory / "order.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(len(rows)))
    return [row["id"].removeprefix("'") for row in rows]


def check_label_studio(directory: Path, ids: list[str], images: Path) -> str:
    """Validate every task against the labelling interface, as Label Studio does at import."""
    from label_studio_sdk.label_interface import LabelInterface

    config = (directory / "label_studio_config.xml").read_text(encoding="utf-8")
    interface = LabelInterface(config)
    interface.validate()
    tasks = json.loads((directory / "label_studio.json").read_text(encoding="utf-8"))
    assert all(interface.validate_task(task) for task in tasks)
    assert not interface.validate_task({"data": {"rank": 0}})  # it does refuse
    assert [task["data"]["id"] for task in tasks] == ids
    assert [task["data"]["rank"] for task in tasks] == list(range(len(ids)))
    return "label_studio_sdk's LabelInterface accepts every task"


def check_fiftyone(directory: Path, ids: list[str], images: Path) -> str:
    """Import the dataset, and read its samples back in the order that FiftyOne keeps."""
    import fiftyone
    from fiftyone.core.config import FiftyOneConfigError

    try:
        dataset = fiftyone.Dataset.from_json(
            str(directory / "fiftyone.json"), name="check-exports", rel_dir=str(images)
        )
    except FiftyOneConfigError:
        document = json.loads((directory / "fiftyone.json").read_text(encoding="utf-8"))
        # What `from_json` itself does with each of them before the database gets it.
        samples = [fiftyone.Sample.from_dict(sample) for sample in document["samples"]]
        how = "Sample.from_dict reads every sample; from_json not tried, MongoDB is missing"
    else:
        samples = list(dataset)
        assert [sample["image_id"] for sample in dataset.sort_by("rank")] == ids
        dataset.delete()
        how = "Dataset.from_json reads every sample"
    assert [sample["image_id"] for sample in samples] == ids
    assert [sample["rank"] for sample in samples] == list(range(len(ids)))
    return how


def check_cvat(directory: Path, ids: list[str], images: Path) -> str:
    """Make the request that creates the task, and measure the images that the manifest names."""
    from cvat_sdk.api_client.models import DataRequest, SortingMethod

    request = DataRequest(image_quality=70, sorting_method=SortingMethod("predefined"))
    assert request.to_dict()["sorting_method"] == "predefined"
    lines = (directory / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    named = [json.loads(line) for line in lines[2:]]
    names = [line["name"] + line["extension"] for line in named]
    listed = (directory / "list.txt").read_text(encoding="utf-8").splitlines()
    listed = [json.loads(name) if name.startswith('"') else name for name in listed]
    assert names == listed
    assert len(names) == len(ids)
    if not all((images / name).exists() for name in names):
        return "cvat_sdk accepts the request; the images are not there to be measured"
    from PIL import Image, ImageOps

    for line, name in zip(named, names, strict=True):
        with Image.open(images / name) as image:
            assert ImageOps.exif_transpose(image).size == (line["width"], line["height"]), name
    return "cvat_sdk accepts the request; the manifest names and measures every image"


CHECKS = {
    "label_studio_sdk": check_label_studio,
    "fiftyone": check_fiftyone,
    "cvat_sdk": check_cvat,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, nargs="?", default=Path("data/annotate"))
    parser.add_argument("--images", type=Path, help="folder of the images; the directory if none")
    options = parser.parse_args()
    ids = read_ids(options.directory)
    images = options.images or options.directory
    n_read = 0
    for module, check in CHECKS.items():
        if find_spec(module) is None:
            print(f"{module}: not installed")
            continue
        print(f"{module}: {check(options.directory, ids, images)}; {len(ids)} in order")
        n_read += 1
    if not n_read:
        sys.exit("no tool is installed; see tests/requirements-tools.txt")


if __name__ == "__main__":
    main()
