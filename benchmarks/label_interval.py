"""Whether the accuracy that `predict` reports, and its interval, hold on images it never saw.

    python benchmarks/label_interval.py run --method simclr     after `dvc repro embed` of CIFAR-10
    python benchmarks/label_interval.py render                  rewrite the page from the numbers

Each run draws a pool from the train images, orders it, labels the first picks and a tenth at random
as `annotate` gives them out, fits the head, and compares what it reports with its accuracy on the
test images. A run replaces its encoder's part of `docs/benchmarks/labels.json`, and renders
`labels.md` beside it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from _page import update_page
from threadpoolctl import threadpool_limits
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from zeroshot_al.base.files import read_npy  # noqa: E402
from zeroshot_al.base.pool import Pool, load_pool  # noqa: E402
from zeroshot_al.coverage import zero_shot_order  # noqa: E402
from zeroshot_al.kcenter import kcenter_order  # noqa: E402
from zeroshot_al.labels.labelling import FinetuneParams, LabelsParams  # noqa: E402
from zeroshot_al.orders import ChosenOrder  # noqa: E402
from zeroshot_al.predicting.accuracy import Estimate, share  # noqa: E402
from zeroshot_al.predicting.assessment import assess  # noqa: E402
from zeroshot_al.predicting.fitting import Embedded, fit_model, likeness  # noqa: E402
from zeroshot_al.predicting.head import Head  # noqa: E402
from zeroshot_al.predicting.labelled import Labelled  # noqa: E402
from zeroshot_al.probing.heads import centred  # noqa: E402
from zeroshot_al.rounds import RANDOM, next_batch  # noqa: E402

HEAD = LabelsParams(None, None, None, None, "head", FinetuneParams(1, 0.1, 0, 0.0))
SHARE = 0.1
ORDERS = ("zero_shot", "kcenter", "random")
FIGURES = {
    "reported": "reported: all labels, weighted",
    "unweighted": "all labels, each as one",
    "random": "the random tenth alone",
}


def picks_of(order: str, embeddings: np.ndarray, n_select: int, seed: int) -> list[int]:
    """First picks of one of `ORDERS`."""
    if order == "random":
        return np.random.default_rng(seed).permutation(len(embeddings)).tolist()
    if order == "kcenter":
        return kcenter_order(embeddings, n_select, seed=seed).order.tolist()
    return zero_shot_order(embeddings, n_select).order.tolist()


def label(pool: Pool, order: list[int], n_labels: int, seed: int) -> Labelled:
    """Label the first batch of an order."""
    chosen = ChosenOrder("", "", Path(), order, ["far"] * len(order))
    none = np.empty(0, dtype=np.int64)
    picks, reasons = next_batch(chosen, none, pool.n_train, n_labels, SHARE, seed)
    codes = pool.train_labels[picks]
    classes, codes = np.unique(codes, return_inverse=True)
    return Labelled(
        indices=np.array(picks),
        codes=codes,
        classes=tuple(pool.classes[code] for code in classes),
        rounds=np.ones(n_labels, dtype=np.int64),
        is_random=np.array([reason == RANDOM for reason in reasons]),
        test_images=pool.images[:0],
        test_codes=none,
    )


def one_run(pool: Pool, embeddings: np.ndarray, labelled: Labelled) -> dict:
    """What is reported of a head, and what is true."""
    embedded = Embedded.of(embeddings[: pool.n_train])
    fitted = fit_model(pool, embedded, labelled, HEAD, None, None, 0, "", "")
    like = likeness(embedded, labelled, fitted)
    found = assess(fitted.held, like, labelled)
    head = Head(fitted.tensors["weight"].numpy(), fitted.tensors["bias"].numpy())
    answers = head.logits(centred(embeddings[pool.n_train :], embedded.mean)).argmax(axis=1)
    names = np.array(labelled.classes)[answers]
    true = float((names == np.array(pool.classes)[pool.test_labels]).mean())
    right = fitted.held.right
    row = {"true": true}
    estimates: dict[str, Estimate | None] = {
        "reported": found["accuracy"],
        "unweighted": share(int(right.sum()), len(right)),
        "random": found["accuracy_random"],
    }
    for name, estimate in estimates.items():
        if estimate is not None:
            row[name] = [estimate.value, estimate.low, estimate.high]
    return row


def measure(options: argparse.Namespace) -> list[dict]:
    """One row an order and number of labels."""
    whole = load_pool(options.pool, needs_labels=True)
    features = read_npy(Path(options.embeddings, f"{options.method}.npy"), memory_map=True)
    test = np.arange(whole.n_train, len(whole.ids))
    rows: dict[tuple[str, int], list[dict]] = {}
    for seed in tqdm(range(options.runs)):
        drawn = np.random.default_rng(seed).permutation(whole.n_train)[: options.images]
        places = np.concatenate([np.sort(drawn), test])
        pool = Pool(
            np.zeros((len(places), 1, 1, 3), np.uint8),
            *([values[i] for i in places] for values in (whole.ids, whole.splits, whole.labels)),
        )
        embeddings = np.asarray(features[places])
        for order in ORDERS:
            picks = picks_of(order, embeddings[: pool.n_train], max(options.labels), seed)
            for n_labels in options.labels:
                found = one_run(pool, embeddings, label(pool, picks, n_labels, seed))
                rows.setdefault((order, n_labels), []).append(found)
    return [{"order": order, "labels": n, "runs": runs} for (order, n), runs in rows.items()]


def render(page: dict) -> str:
    """The page: one table an encoder."""
    lines = ["# The accuracy that `predict` reports", ""]
    lines += ["Made by `benchmarks/label_interval.py` from `labels.json`; do not edit.", ""]
    for part in page.values():
        lines += [
            f"## {part['title']}",
            "",
            f"{part['n_runs']} runs, each a pool of {part['n_images']:,} drawn train images, "
            "ordered and labelled apart, a tenth of the labels at random. True is the accuracy on "
            f"{part['n_test']:,} test images; error is the mean of what is reported less that, and "
            "width that of the whole 95% interval, in points.",
            "",
            "| order | labels | true | estimate | error | width | contains the true one |",
            "|---|---:|---:|---|---:|---:|---:|",
        ]
        for row in part["rows"]:
            for name, text in FIGURES.items():
                runs = [run for run in row["runs"] if name in run]
                if not runs:
                    continue
                true = np.array([run["true"] for run in runs])
                value, low, high = np.array([run[name] for run in runs]).T
                inside = int(((low <= true) & (true <= high)).sum())
                lines.append(
                    f"| {row['order']} | {row['labels']:,} | {100 * true.mean():.1f} | {text} | "
                    f"{100 * (value - true).mean():+.1f} | {100 * (high - low).mean():.1f} | "
                    f"{inside} of {len(runs)} |"
                )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("run")
    mode.add_argument("--method", default="simclr", help="the file in --embeddings")
    mode.add_argument("--title", help="of the table; the method's name")
    mode.add_argument("--pool", default="data/pool")
    mode.add_argument("--embeddings", default="data/embeddings")
    mode.add_argument("--images", type=int, default=6000)
    mode.add_argument("--labels", type=int, nargs="+", default=[100, 400, 1600])
    mode.add_argument("--runs", type=int, default=10)
    modes.add_parser("render")
    options = parser.parse_args()
    new = {}
    if options.mode == "run":
        with threadpool_limits(1):
            rows = measure(options)
        new[options.method] = {
            "title": options.title or options.method,
            "n_runs": options.runs,
            "n_images": options.images,
            "n_test": len(load_pool(options.pool).test_labels),
            "rows": rows,
        }
    update_page("labels", render, new)


if __name__ == "__main__":
    main()
