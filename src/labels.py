"""Join the labels that annotators made to the pool, and split them into training and test.

Reads   data/pool/, data/zero_shot_orders/ or, by `rule`, data/orders/; labels.file and
        labels.test_root, wherever they lie
Writes  data/labels/ (labels.csv: id, split, label; report.csv: id, problem, detail; summary.json;
        test_images.npy if there is a test folder); without rows if the pool has labels of its own
Params  rule, profiles.<profile>.{data, labels, order}
Paper   not in it: its pool is labelled beforehand
"""

from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import replaced_directory, write_csv, write_json
from zeroshot_al.base.params import Rule, load_experiment, load_section
from zeroshot_al.base.pool import HEADER, Pool, load_pool
from zeroshot_al.labels.label_files import read_answers
from zeroshot_al.labels.label_join import REPORT_HEADER, IdFinder
from zeroshot_al.labels.labelled_folder import read_labelled_folder
from zeroshot_al.labels.labelling import LabelsParams, label_pool
from zeroshot_al.orders import OrderParams, choose_order
from zeroshot_al.process.stage import run_stage
from zeroshot_al.sources.image_files import image_files
from zeroshot_al.sources.left_out import read_left_out
from zeroshot_al.sources.params import DataParams
from zeroshot_al.sources.spreadsheet import write_table


def main() -> None:
    """Run the stage."""
    params = load_section("labels", LabelsParams)
    data = load_section("data", DataParams)
    rule, method = load_experiment().rule, load_section("order", OrderParams).method
    pool = load_pool("data/pool")
    with replaced_directory("data/labels") as directory:
        directory.mkdir(parents=True)
        rows, report, summary = join(params, data, rule, method, pool, directory)
        write_csv(directory / "labels.csv", HEADER, rows)
        write_table(directory / "report.csv", REPORT_HEADER, report)
        write_json(directory / "summary.json", summary)


def join(
    params: LabelsParams,
    data: DataParams,
    rule: Rule,
    method: str | None,
    pool: Pool,
    directory: Path,
) -> tuple[list, list, dict]:
    """Return the rows of both CSVs and the summary; write the test folder's images."""
    if pool.is_labelled:
        if params.file is not None or params.test_root is not None:
            raise InputError(
                "the pool has labels of its own; set labels.file and test_root to null"
            )
        return [], [], {}
    if params.file is None:
        raise InputError(
            "the pool has no labels of its own, and labels.file is not set; set it to a CSV of "
            "id,label or an export of Label Studio"
        )
    ids = pool.train_ids
    chosen = choose_order(rule, method, "data/zero_shot_orders", "data/orders", ids)
    test, bad_tests = {}, []
    if params.test_root is not None:
        test, bad_tests = read_labelled_folder(
            params.test_root, pool.train_images, data.size_px, directory / "test_images.npy"
        )
    answers = read_answers(params.file)
    finder = IdFinder(ids, read_left_out("data/pool"), image_files(data, ids))
    order = [ids[index] for index in chosen.picks]
    return label_pool(answers, ids, finder, order, chosen.method, test, bad_tests, params)


if __name__ == "__main__":
    run_stage(main)
