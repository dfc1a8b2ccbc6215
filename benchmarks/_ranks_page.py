"""The page of `benchmarks/ranks.py`: the numbers as Markdown, one section for each kind of work."""

BLOCK = 512  # of `kcenter.search`
PLANS = {  # what a run would exchange and hold: points, dimensions, picks, ranks
    "a million photos": (1_000_000, 128, 100_000, 8),
    "ImageNet, ResNet-50": (1_281_167, 2048, 128_116, 8),
    "a hundred million": (100_000_000, 128, 1_000_000, 64),
}


def render(page: dict) -> str:
    lines = ["# Ranks: one process and several", ""]
    lines += ["Made by `benchmarks/ranks.py` from `ranks.json`; do not edit.", ""]
    for name, section in SECTIONS.items():
        if name in page:
            lines += section(page[name])
    return "\n".join(lines).rstrip() + "\n"


def kcenter(part: dict) -> list[str]:
    m = part["machine"]
    lines = [
        "## k-center",
        "",
        f"200 synthetic clusters. Medians of {part['repeats']} interleaved runs, from the "
        f"embeddings on disk to the order. {m['cpu']}, {m['cores']} cores, torch {part['torch']}, "
        f"Python {m['python']}, load before {m['load_before']}. Memory is what the call adds to "
        "the largest rank. Messages are gathers in which every rank takes part; what a rank sends "
        "goes to each of the others.",
        "",
    ]
    for case in part["cases"]:
        rows = case["rows"]
        shape = f"{case['budget']:,} of {case['n_samples']:,} x {case['n_dims']}"
        lines += [
            f"### {shape}, {case['precision']}",
            "",
            "| | seconds | runs | memory, GiB | messages | of them blocks | a rank sends, MB |",
            "|---|---:|---|---:|---:|---:|---:|",
        ]
        for name, row in rows.items():
            runs = ", ".join(f"{run:.1f}" for run in row["runs_s"])
            exchanged = "| | "
            if row["n_ranks"] > 1:
                megabytes = row["sent_bytes"] / 1e6
                exchanged = f"{row['n_exchanges']:,} | {row['n_blocks']:,} | {megabytes:.1f}"
            seconds, memory = row["median_s"], row["added_gib"]
            lines.append(f"| {name} | {seconds:.1f} | {runs} | {memory:.2f} | {exchanged} |")
        lines += ["", f"- the same bytes of order and radius: {'yes' if case['same'] else 'NO'}"]
        alone = [(name, row) for name, row in rows.items() if row["n_ranks"] == 1]
        for shared, row in rows.items():
            for name, other in alone if row["n_ranks"] > 1 else ():
                lines.append(
                    f"- {shared} / {name}: {other['median_s'] / row['median_s']:.2f} times"
                )
        lines.append("")
    return lines + plans(part)


def plans(part: dict) -> list[str]:
    """What larger runs would exchange, from the fewest picks a block that were seen."""
    per_block = min(
        case["budget"] / row["n_blocks"]
        for case in part["cases"]
        for row in case["rows"].values()
        if row["n_ranks"] > 1
    )
    lines = [
        "### What larger runs exchange and hold",
        "",
        f"Computed, not measured: n points of d dimensions, k picks, R ranks, {per_block:.0f} "
        "picks a block, the fewest above. A rank",
        "",
        f"- receives k / {per_block:.0f} x {BLOCK} x (4 d + 16) bytes of blocks, the same on any "
        "number of ranks, and 16 n bytes of final state; surveys and lengths are 56 R bytes a "
        "block;",
        "- holds n / R x 4 d bytes of its own points (and n / R x 2 (d + 4) for the bfloat16 "
        "filter) and (R - 1) / R x k x 4 d of the others' picks (and as much again by half).",
        "",
        "| | n | d | k | R | blocks | received, GB | at 10 Gbit/s, s | held, GB | with bf16 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (n, d, k, n_ranks) in PLANS.items():
        n_blocks = k / per_block
        received = n_blocks * BLOCK * (4 * d + 16) + 16 * n
        rows = n / n_ranks + (n_ranks - 1) / n_ranks * k
        held, more = rows * 4 * d, rows * 2 * (d + 4)
        lines.append(
            f"| {name} | {n:,} | {d:,} | {k:,} | {n_ranks} | {n_blocks:,.0f} | "
            f"{received / 1e9:.2f} | {received / 1.25e9:.1f} | {held / 1e9:.2f} | "
            f"{(held + more) / 1e9:.2f} |"
        )
    return [*lines, ""]


SECTIONS = {"kcenter": kcenter}
