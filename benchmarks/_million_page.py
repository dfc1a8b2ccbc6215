"""The page of `benchmarks/million.py`: what was measured, and what follows from it for more."""

from _million_arithmetic import arithmetic

COMPARED = {"download": "bare decoding", "embed": "bare encoder"}


def render(page: dict) -> str:
    lines = ["# A million images", ""]
    lines += ["Made by `benchmarks/million.py` from `million.json`; do not edit.", ""]
    stages = by_size(page, "stages", "n_images")
    orders = by_size(page, "orders", "n_samples")
    if stages:
        lines += stage_lines(stages)
    if orders:
        lines += order_lines(orders)
    # Figures come one by one.
    whole = [part for part in stages if "bare decoding" in part["runs"]]
    if whole and "work" in page:
        lines += arithmetic(page, whole)
    return "\n".join(lines).rstrip() + "\n"


def by_size(page: dict, kind: str, size: str) -> list[dict]:
    return sorted(
        (part for key, part in page.items() if key.startswith(kind)), key=lambda p: p[size]
    )


def stage_lines(stages: list[dict]) -> list[str]:
    lines = [
        "## Images through the stages", "",
        "PNGs of 32 x 32 pixels, all different, a thousand a folder, through the scripts that",
        "`dvc repro` calls, with the profile `folder` and 1,000 labels. The encoder (ResNet-9, a",
        "quarter of the width, 128 features) has random weights: pretraining is timed in",
        "[engine.md](engine.md). *Bare decoding* opens and decodes each file on all cores and",
        "drops it; *bare encoder* is the forward pass alone over one batch, scaled from 20,000.",
        "Memory is the peak over all processes of a run together: anonymous, which is what they",
        "need, and with their share of mapped files, which the system takes back when it is short.",
        "",
    ]  # fmt: skip
    for part in stages:
        m, n = part["machine"], part["n_images"]
        lines += [
            f"### {n:,} images", "",
            f"One run. {m['cpu']}, {m['cores']} cores, Python {m['python']}, load before "
            f"{m['load_before']}; a load above the number of cores is others' work, and seconds by "
            "the clock then mean little.", "",
            "| | seconds | images/s | CPU seconds | anonymous, MiB | with files, MiB "
            "| load after |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        for name, run in part["runs"].items():
            lines.append(
                f"| {name} | {run['seconds']:,.0f} | {n / run['seconds']:,.0f} "
                f"| {run['cpu_s']:,.0f} | {run['anonymous_mib']:,.0f} | {run['mapped_mib']:,.0f} "
                f"| {run['load_after']} |"
            )
        lines.append("")
        for ours, bare in COMPARED.items():
            if {ours, bare} <= part["runs"].keys():
                ratio = part["runs"][ours]["cpu_s"] / part["runs"][bare]["cpu_s"]
                lines.append(f"- {ours} / {bare}, CPU time: {ratio:.2f}")
        sizes = {name: total for name, total in part["bytes"].items() if total}
        encoder = sizes.pop("models", 0) / 2**20
        disk = ", ".join(f"{name} {total / n:,.0f}" for name, total in sizes.items())
        lines += [
            f"- bytes on the disk for each image: {disk}; its file "
            f"{part['source_bytes'] / n:,.0f}; "
            f"the encoder {encoder:.1f} MiB in all",
            "",
        ]  # fmt: skip
    return lines


def order_lines(orders: list[dict]) -> list[str]:
    lines = [
        "## Embeddings in order", "",
        "200 synthetic clusters, each order in a process of its own, which makes the embeddings",
        "and holds them in memory. *Product* is the time of a float32 matrix product of all points",
        "with as many centres as picks, from a part of it: a search that skips nothing.", "",
    ]  # fmt: skip
    for part in orders:
        m, n = part["machine"], part["n_samples"]
        lines += [
            f"### {n:,} x {part['n_dims']}", "",
            f"One run. {m['cpu']}, {m['cores']} cores, torch {m['torch']} with {m['threads']} "
            f"threads, load before {m['load_before']}.", "",
            "| picks | seconds | product | ours / product | CPU seconds | anonymous, MiB "
            "| load after |",
            "|---:|---:|---:|---:|---:|---:|---:|",
        ]  # fmt: skip
        lines += [
            f"| {row['budget']:,} | {row['order_s']:,.1f} | {row['product_s']:,.1f} "
            f"| {row['order_s'] / row['product_s']:.2f} | {row['cpu_s']:,.0f} "
            f"| {row['anonymous_mib']:,.0f} | {row['load_after']} |"
            for row in part["rows"]
        ]
        lines.append("")
    return lines
