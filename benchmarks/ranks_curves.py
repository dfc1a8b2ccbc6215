"""Follow the loss of pretrainings on several ranks beside one process, and beside another seed.

    python benchmarks/ranks_curves.py            into docs/benchmarks/, minutes
    python benchmarks/ranks_curves.py --render   rewrite page and plot from the numbers

The params are those of the profiles `demo`, on scikit-learn's digits, and `laptop`, on CIFAR-10 out
of `$ZEROSHOT_AL_DATA`; without the latter its part of the page stays as it is. Nothing is timed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _machine import machine
from _page import FOLDER, update_page

from zeroshot_al.base.ranks import ALONE, Ranks

ROOT = Path(__file__).resolve().parent.parent

PARTS = {"demo": ("digits", 1024), "laptop": ("cifar10", 768)}  # profile: source, train images
METHODS = {"simclr": "SimCLR", "moco": "MoCo-v2"}
RUNS = {  # number of ranks, and what is added to the seed
    "1 process": (1, 0),
    "2 ranks": (2, 0),
    "4 ranks": (4, 0),
    "1 process, another seed": (1, 1),
}
FIRST, *OTHERS = RUNS
SEED = OTHERS[-1]
EPOCHS, BATCH_SIZE, N_TEST = 4, 128, 300


def work(profile: str, method: str, more: int, folder: Path, ranks: Ranks) -> None:
    """Pretrain on one of the ranks; the first writes the losses and the kNN accuracy."""
    import torch

    from zeroshot_al.base.params import load_section
    from zeroshot_al.embedding.features import feature_batches
    from zeroshot_al.embedding.probe import EmbedParams, knn_accuracy
    from zeroshot_al.engine.runtime import autocast, initial_weights, pick_device
    from zeroshot_al.methods.moco import Moco, MocoParams
    from zeroshot_al.methods.simclr import Simclr, SimclrParams
    from zeroshot_al.selfsup.encoders import EncoderParams
    from zeroshot_al.selfsup.pretrain import pretrain

    torch.set_num_threads(1)
    kind, params_kind = {"moco": (Moco, MocoParams), "simclr": (Simclr, SimclrParams)}[method]
    file = folder / "params.yaml"
    params = load_section(method, params_kind, file, shared="pretrain")
    params = replace(params, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=params.seed + more)
    images, labels = (
        np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("images", "labels")
    )
    n_train = len(images) - N_TEST
    initial_weights(params.seed)
    trained = kind(load_section("encoder", EncoderParams, file), params)
    history = pretrain(trained, images[:n_train], params, folder / "checkpoint", ranks)
    if not ranks.is_first:
        return
    device = pick_device()
    features = np.concatenate(list(feature_batches(trained.encoder, images, device)))
    knn = knn_accuracy(
        features[:n_train],
        labels[:n_train],
        features[n_train:],
        labels[n_train:],
        load_section("embed", EmbedParams, file),
    )
    with autocast(device):
        precision = "bfloat16" if torch.is_autocast_enabled(device.type) else "float32"
    found = {"losses": [loss for _, loss, _ in history], "knn": knn, "precision": precision}
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")


def write_images(source: str, n_train: int, folder: Path) -> None:
    """Write random images and labels of a source, the test images behind the others."""
    from zeroshot_al.sources.load import load_source
    from zeroshot_al.sources.params import DataParams

    raw = os.environ.get("ZEROSHOT_AL_DATA", "")
    pool = load_source(DataParams(source, None), raw, folder / "pool")
    draw = np.random.default_rng(0)
    train = draw.permutation(pool.n_train)[:n_train]
    test = draw.permutation(len(pool.test_images))[:N_TEST]
    images = np.concatenate([pool.train_images[train], pool.test_images[test]])
    np.save(folder / "images.npy", images)
    np.save(
        folder / "labels.npy", np.concatenate([pool.train_labels[train], pool.test_labels[test]])
    )


def measure(profile: str) -> dict:
    """Return what was found of each method and run."""
    source, n_train = PARTS[profile]
    found: dict = {method: {} for method in METHODS}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        write_images(source, n_train, data)
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        text = re.sub(r"(?m)^profile: .*$", f"profile: {profile}", text)
        for method in METHODS:
            for run, (n_ranks, more) in RUNS.items():
                folder = data / f"{method}-{n_ranks}-{more}"
                folder.mkdir()
                (folder / "params.yaml").write_text(text, encoding="utf-8")
                for file in ("images.npy", "labels.npy"):
                    (folder / file).symlink_to(data / file)
                launcher = [
                    "-m",
                    "torch.distributed.run",
                    "--standalone",
                    "--nproc-per-node",
                    str(n_ranks),
                ]
                command = [sys.executable, *(launcher if n_ranks > 1 else ()), __file__]
                command += ["--work", profile, method, str(more), str(folder)]
                environment = os.environ | {"OMP_NUM_THREADS": "1"}
                subprocess.run(command, check=True, env=environment, cwd=ROOT)
                found[method][run] = json.loads((folder / "found.json").read_text("utf-8"))
    return found


def gaps(part: dict, runs: list[str]) -> list[float]:
    """Return the differences of each epoch's loss to that of one process, over runs and methods."""
    return [
        loss - expected
        for by_run in part["runs"].values()
        for run in runs
        for loss, expected in zip(by_run[run]["losses"], by_run[FIRST]["losses"], strict=True)
    ]


def render(page: dict) -> str:
    """Return the page, and draw its figure."""
    parts = {profile: page[profile] for profile in PARTS if profile in page}
    ranks = max(abs(gap) for part in parts.values() for gap in gaps(part, OTHERS[:-1]))
    seed = max(abs(gap) for part in parts.values() for gap in gaps(part, [SEED]))
    lines = [
        "# The loss on several ranks, epoch by epoch",
        "",
        "`python benchmarks/ranks_curves.py`: mean loss of each epoch, and the kNN accuracy on "
        f"{N_TEST} test images behind the last, where one standard error is up to 2.9 percentage "
        f"points. {EPOCHS} epochs with batches of {BATCH_SIZE}, one CPU thread a rank.",
        "",
        "![Difference of the loss to that of one process](ranks_curves.png)",
        "",
        f"No loss of ranks is further than {ranks:.3f} from that of one process; with another seed "
        f"it is up to {seed:.3f}.",
        "",
    ]
    for profile, part in parts.items():
        source, n_train = PARTS[profile]
        about, by_method = part["machine"], part["runs"]
        precision = by_method["simclr"][FIRST]["precision"]
        lines += [
            f"## Profile {profile}, {n_train:,} images of {source}",
            "",
            f"In {precision}; {about['cpu']}, PyTorch {part['torch']}. No loss of ranks is further "
            f"than {max(map(abs, gaps(part, OTHERS[:-1]))):.3f} from that of one process, none of "
            f"the other seed further than {max(map(abs, gaps(part, [SEED]))):.3f}.",
            "",
            "| | | " + " | ".join(f"epoch {e}" for e in range(1, EPOCHS + 1)) + " | kNN in % |",
            "| :--- | :--- |" + " ---: |" * (EPOCHS + 1),
        ]
        for method, name in METHODS.items():
            for run, found in by_method[method].items():
                cells = [f"{loss:.3f}" for loss in found["losses"]] + [f"{100 * found['knn']:.1f}"]
                title = name if run == FIRST else ""
                lines.append(f"| {title} | {run} | " + " | ".join(cells) + " |")
        lines.append("")
    draw_figure(parts)
    return "\n".join(lines).rstrip() + "\n"


def draw_figure(parts: dict) -> None:
    """Draw the differences to one process by epoch, a panel for each method and profile."""
    from matplotlib.figure import Figure

    from zeroshot_al.report.figures import save_figure, styled

    with styled():
        figure = Figure(figsize=(8, 2.6 * len(parts)))
        panels = figure.subplots(len(parts), len(METHODS), sharex=True, sharey=True, squeeze=False)
        for row, (profile, part) in zip(panels, parts.items(), strict=True):
            for axes, (method, name) in zip(row, METHODS.items(), strict=True):
                by_run = part["runs"][method]
                for run, style in zip(OTHERS, ("o-", "s-", "^--"), strict=True):
                    difference = np.subtract(by_run[run]["losses"], by_run[FIRST]["losses"])
                    colour = {"color": "0.6"} if run == SEED else {}
                    axes.plot(range(1, EPOCHS + 1), difference, style, label=run, **colour)
                axes.set_title(f"{name}, {profile}")
                axes.set_xticks(range(1, EPOCHS + 1))
            row[0].set_ylabel("loss, difference")
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        panels[0, -1].legend()
        save_figure(figure, FOLDER / "ranks_curves.png")


def main() -> None:
    """Measure and write the numbers, the figure and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        profile, method, more, folder = options.work
        arguments = profile, method, int(more), Path(folder)
        if "RANK" in os.environ:
            from zeroshot_al.process.launch import run_shared_stage

            run_shared_stage(work, *arguments)
        else:
            work(*arguments, ALONE)
        return
    new = {}
    for profile, (source, _) in PARTS.items() if not options.render else ():
        if source != "digits" and not os.environ.get("ZEROSHOT_AL_DATA"):
            print(f"no ZEROSHOT_AL_DATA: the part of {profile} stays as it is", file=sys.stderr)
            continue
        import torch

        about = machine()
        new[profile] = {"machine": about, "torch": torch.__version__, "runs": measure(profile)}
    update_page("ranks_curves", render, new)


if __name__ == "__main__":
    main()
