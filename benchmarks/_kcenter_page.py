"""The page of `benchmarks/kcenter.py`: the numbers as Markdown, each promise beside its figure."""

PEERS = {
    "scikit-activeml": "exact",
    "fpsample": "exact",
    "anomalib": "other picks: it projects at random",
}


def render(page: dict) -> str:
    lines = ["# Exact k-center: speed, growth and proof", ""]
    lines += ["Made by `benchmarks/kcenter.py` from `kcenter.json`; do not edit.", ""]
    if part := page.get("speed"):
        rows = part["rows"]
        lines += [
            f"## {part['budget']:,} of {part['n_samples']:,} x {part['n_dims']}",
            "",
            f"{part['data']}. Median of {part['repeats']} runs. {on(part)}",
            "",
            "| | seconds | times ours (float32) | runs | |",
            "|---|---:|---:|---|---|",
        ]
        ours = rows["ours, float32"]["median_s"]
        for name, row in rows.items():
            median = row["median_s"]
            shown = f"{median:.1f} | {median / ours:.2f}" if median else "- | -"
            runs = ", ".join(f"{run:.1f}" for run in row["runs_s"])
            lines.append(f"| {name} | {shown} | {runs} | {row['note']} |")
        lines += ["", *targets(rows), ""]
    if part := page.get("growth"):
        lines += [
            f"## Growth: {part['budget']:,} picks, d = {part['n_dims']}",
            "",
            f"Filter {part['precision']}, median of {part['repeats']} runs. {on(part)}",
            "",
            "| points | seconds | peak of the process, GiB | imports | data | added by the call |",
            "|---:|---:|---:|---:|---:|---:|",
        ]
        for row in part["rows"]:
            memory = (row[key] for key in ("peak_gib", "imports_gib", "data_gib", "added_gib"))
            cells = " | ".join(f"{value:.2f}" for value in memory)
            lines.append(f"| {row['n_samples']:,} | {row['seconds']:.1f} | {cells} |")
        lines.append("")
    if part := page.get("verify"):
        wrong = ", ".join(f"{count} with {name}" for name, count in part["wrong"].items())
        lines += [
            "## Proof",
            "",
            f"Wrong picks or radii among {part['budget']:,} of {part['n_samples']:,} x "
            f"{part['n_dims']} ({part['data']}) by an independent float64 pass: {wrong}.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def on(part: dict) -> str:
    m = part["machine"]
    return (
        f"{m['cpu']}, {m['cores']} cores, {m['bf16']}, torch {m['torch']} with {m['threads']} "
        f"threads, Python {m['python']}, load before {m['load_before']}."
    )


def targets(rows: dict) -> list[str]:
    """The promised ratios, each beside what was measured."""
    median = {name: row["median_s"] for name, row in rows.items()}
    ours, bf16 = median["ours, float32"], median["ours, bf16"]
    floor, best = median["float32 product, N x B"], min(ours, bf16)
    exact = [median[name] for name, kind in PEERS.items() if kind == "exact" and median[name]]
    lines = [
        f"- naive / ours: {median['naive float32 matvec'] / best:.1f} (at least 8)",
        f"- ours, float32 / float32 product: {ours / floor:.2f} (at most 1.2)",
        f"- ours, bf16 / float32 product: {bf16 / floor:.2f} (below 1)",
    ]
    peers = f"{min(exact) / best:.0f} (at least 90)" if exact else "none was there to time"
    return [*lines, f"- fastest exact peer / ours: {peers}"]
