"""Join the labels that annotators made to the pool.

Reads   data/pool/; labels.file, labels.labelled and labels.test_root, wherever they lie
Writes  data/labels/ (labels.csv: id, split, label, the split is test for the images of a test
        folder alone, whose pixels are test_images.npy; labelled.csv: ids of the pool that need no
        label any more; report.csv: id, problem, detail); no rows if the pool has labels of its
        own, or none were made yet
Params  profiles.<profile>.{data, labels}
Paper   not in it: its pool is labelled beforehand
"""

import logging
from collections import Counter

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import replaced_directory, write_csv
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import HEADER, load_pool
from zeroshot_al.labels.label_files import read_answers
from zeroshot_al.labels.label_join import REPORT_HEADER, IdFinder
from zeroshot_al.labels.labelled_folder import read_labelled_folder
from zeroshot_al.labels.labelling import LabelsParams, find_labelled, label_pool
from zeroshot_al.process.stage import run_stage
from zeroshot_al.rounds import LABELLED_HEADER
from zeroshot_al.sources.id_files import LABELLED, read_ids
from zeroshot_al.sources.image_files import image_files
from zeroshot_al.sources.left_out import read_left_out
from zeroshot_al.sources.params import DataParams
from zeroshot_al.sources.spreadsheet import write_table


def main() -> None:
    """Run the stage."""
    params = load_section("labels", LabelsParams)
    data = load_section("data", DataParams)
    pool = load_pool("data/pool")
    if pool.is_labelled and (params.file or params.labelled or params.test_root):
        raise InputError(
            "the pool has labels of its own; set labels.file, labels.labelled and "
            "labels.test_root to null"
        )
    ids = pool.train_ids
    labels, test, labelled, report, bad_tests = {}, {}, set(), [], []
    with replaced_directory("data/labels") as directory:
        directory.mkdir(parents=True)
        finder = IdFinder(ids, read_left_out("data/pool"), image_files(data, ids))
        if params.file is not None:
            if params.test_root is not None:
                test, bad_tests = read_labelled_folder(
                    params.test_root, pool.train_images, data.size_px, directory / "test_images.npy"
                )
            answers = read_answers(params.file)
            labels, report = label_pool(answers, finder, test, bad_tests, params)
        if params.labelled is not None:
            names = read_ids(params.labelled, LABELLED)
            labelled, unknown = find_labelled(names, finder, params.labelled)
            report += unknown
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(p.problem for p in report).items())
        logging.info("reported in data/labels/report.csv: %s", kinds or "nothing")
        rows = [(name, "train", labels[name]) for name in ids if name in labels]
        rows += [(name, "test", label) for name, label in test.items()]
        write_csv(directory / "labels.csv", HEADER, rows)
        known = ((name,) for name in ids if name in labels or name in labelled)
        write_csv(directory / "labelled.csv", LABELLED_HEADER, known)
        write_table(directory / "report.csv", REPORT_HEADER, report)


if __name__ == "__main__":
    run_stage(main)
