"""Guess the class of each image in another folder, by the model of data/predictions.

    python scripts/predict_folder.py FOLDER [OUT]

Writes OUT/predictions.csv (id, predicted, probability, margin) and OUT/rejected.csv (id, reason)
for files that gave no image; OUT is data/folder_predictions unless it is given. `make predict
ROOT=FOLDER` runs it.
"""

import sys
from pathlib import Path

from zeroshot_al.base.files import replaced_directory
from zeroshot_al.predicting.folder import predict_folder
from zeroshot_al.process.stage import run_stage


def main(root: str, out: str = "data/folder_predictions") -> None:
    """Predict, and say what was written."""
    with replaced_directory(out) as directory:
        found = predict_folder(root, Path("data/predictions"), "models", directory)
    print(f"{out}/predictions.csv: {found[0]:,} images; {out}/rejected.csv: {found[1]:,} files")


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
