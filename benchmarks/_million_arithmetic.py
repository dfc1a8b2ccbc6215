"""What larger pools need, from measured figures and from assumptions that are named."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
GIB, HOUR = 2**30, 3600

# Name, images, pixels a side, encoder, features.
POOLS = (
    ("ImageNet at 64 px", 1_281_167, 64, "resnet-18", 512),
    ("ImageNet at 224 px", 1_281_167, 224, "resnet-50", 2048),
    ("100 M images at 64 px", 100_000_000, 64, "resnet-18", 512),
)
EPOCHS = 100
VIEWS, PASSES = 2, 3  # a backward pass costs two forward ones
PICKS_PER_BLOCK = 250
BLOCK = 512
RANKS = 64
BUDGET = 1_000_000
# Sustained rates of one data-centre GPU, operations a second; assumed.
TRAINING_RATE = 60e12
FLOAT32_RATE = 15e12
PRODUCT_RATE = 300e12
ASSUMED = [
    "60 TFLOP/s of one data-centre GPU for training in bf16 (ResNet-50 at 2,500 images/s, a usual",
    "figure of an A100), 15 TFLOP/s for embedding, which is float32, 300 TFLOP/s for large bf16",
    f"products; {EPOCHS} epochs of SimCLR with views as large as the images; {PICKS_PER_BLOCK}",
    f"picks a block of {BLOCK} points; photos of 500 x 375 pixels.",
]


def arithmetic(page: dict, measured: list[dict]) -> list[str]:
    """Return the page's lines.

    Parameters
    ----------
    page : dict
        With `work`: CPU milliseconds to decode a photo, operations of an encoder's forward pass.
    measured : list of dict
        The runs of the stages, the largest last.
    """
    stages, smallest = measured[-1], measured[0]
    n, work = stages["n_images"], page["work"]
    table = stages["bytes"]["data/pool"] / n - 3 * 32**2  # what is not pixels
    order_csv = max(part["bytes"]["data/orders"] / part["n_images"] for part in measured)
    download = stages["runs"]["download"]
    # Beside the photo itself: hashing, writing, the search for duplicates.
    beside_ms = (download["cpu_s"] - stages["runs"]["bare decoding"]["cpu_s"]) / n * 1000
    cpu = json.loads((FOLDER / "engine.json").read_text(encoding="utf-8"))["laptop, CPU"]
    cpu_rate = cpu["tasks"]["simclr"]["ours"]["operations_per_s"]
    rows: dict[str, list[str]] = {}

    def add(name: str, text: str) -> None:
        rows.setdefault(name, []).append(text)

    for _, images, side, encoder, dims in POOLS:
        pixels, vectors = images * 3 * side**2, images * 4 * dims
        add("pool, images.npy", size(pixels))
        add("embeddings, one method", size(vectors))
        add("index.csv and an order", size(images * (table + order_csv)))
        decode_ms = work["decode_ms"][str(side)] + max(beside_ms, 0) * (side / 32) ** 2
        add("download, hours of a core", hours(images * decode_ms / 1000))
        forward = work["forward"][f"{encoder} {side}"]
        training = EPOCHS * images * VIEWS * PASSES * forward
        add("pretraining, hours of a GPU", hours(training / TRAINING_RATE))
        add("the same, days of these 2 cores", f"{training / cpu_rate / HOUR / 24:,.0f}")
        add("embed, hours of a GPU", hours(images * forward / FLOAT32_RATE))
        # A centre is compared with what is not picked yet: 2 d operations for each of them.
        full, budget = images**2 * dims, BUDGET * (2 * images - BUDGET) * dims
        add("k-center, the full order, operations", f"{full:.1e}")
        add("its products, hours of a GPU", hours(full / PRODUCT_RATE))
        add("products of the first million picks", hours(budget / PRODUCT_RATE))
        held = 4 * dims + 2 * (dims + 4) + 64
        add("memory of one rank", size(images * held))
        add(
            f"of {RANKS}, the first million picks",
            size(min(images, images / RANKS + BUDGET) * held),
        )
        add(f"of {RANKS}, the full order", size(images * held))
        blocks = -(-BUDGET // PICKS_PER_BLOCK) * BLOCK * (4 * dims + 16)
        add("received by a rank in a million picks", size(blocks))
        add("received by a rank in the full order", size(blocks * images / BUDGET))
    lines = [
        "## What more would need", "",
        "| | " + " | ".join(name for name, *_ in POOLS) + " |",
        "|---|" + "---:|" * len(POOLS),
        *(f"| {name} | {' | '.join(texts)} |" for name, texts in rows.items()),
        "",
        "Encoders: "
        + ", ".join(f"{encoder} with {dims:,} features" for _, _, _, encoder, dims in POOLS)
        + ".",
        "",
        f"*Measured here*: bytes of a row and CPU time beside decoding, from the run of {n:,}",
        "images; decoding of a photo, "
        + " and ".join(f"{ms:.1f} ms at {side} px" for side, ms in work["decode_ms"].items())
        + " on one core; operations of a",
        "forward pass, "
        + ", ".join(f"{count / 1e9:.1f} G for {name} px" for name, count in work["forward"].items())
        + f" (counted); {cpu_rate / 1e12:.2f} TFLOP/s of training on these cores",
        "([engine.md](engine.md)); memory of k-center as the stage itself checks it: rows in",
        "float32, their bf16 copy, 64 bytes of state; 128 to 312 picks a block of 50,000, the more",
        "the longer the order. *Assumed, not measured*:", *ASSUMED, "",
    ]  # fmt: skip
    grown = download["anonymous_mib"] - smallest["runs"]["download"]["anonymous_mib"]
    per_file = grown * 2**20 / max(1, n - smallest["n_images"])
    return lines + limits(per_file, n, stages["runs"].get("kcenter_order"))


def limits(download_bytes: float, n: int, whole: dict | None) -> list[str]:
    took = f" ({whole['seconds']:,.0f} s for all of {n:,} here)" if whole else ""
    return [
        "### Where the design stops", "",
        f"- *download* holds {download_bytes:,.0f} bytes for each file (its name, the hash of its",
        f"  pixels, a signature): {size(download_bytes * 1e8)} at 100 M, on one machine. The array",
        "  is reordered in place, by random access; on a disk that seeks this would take days.",
        "- *The search for near-duplicates* sorts all signatures 15 times and compares each with",
        "  at most 1,000 others a time; it grows a little faster than the pool.",
        "- *Archives of published sets* are read into memory whole; image files are not, wherever",
        "  they come from, nor are `embeddings`.",
        "- *Pretraining* reads each batch from the array on the disk, by random access; a GPU",
        "  keeps all pixels where they fit. At ImageNet's 224 px its time is the limit: the",
        "  encoders of this project, made for small images, spend 16 times the work of a usual",
        "  ResNet-50. `encoder.weights` takes an existing model instead.",
        f"- *The full order* is a chain of picks{took}. Products share out among GPUs; the",
        "  picks inside a block follow one another on every rank. A rank keeps the vectors of the",
        "  others' picks, so that for the full order its memory does not shrink with more ranks.",
        "  Nobody labels 100 M images: order as many as there is budget for (`kcenter_order` in",
        "  Python; the stage orders the whole pool).",
        "- *One array on one file system, one CSV*: each stage reads the index from its beginning.",
        "  Ids in Python take about 130 bytes each: 13 GB at 100 M, in every stage and rank.", "",
    ]  # fmt: skip


def size(n_bytes: float) -> str:
    for unit, scale in (("TiB", 2**40), ("GiB", GIB), ("MiB", 2**20)):
        if n_bytes >= scale:
            value = n_bytes / scale
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:,.1f} {unit}"
    return f"{n_bytes:,.0f} B"


def hours(seconds: float) -> str:
    value = seconds / HOUR
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.3f}"
