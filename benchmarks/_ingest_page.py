"""The page of `benchmarks/ingest.py`: the numbers as Markdown."""


def render(page: dict) -> str:
    lines = ["# Ingestion of a folder of images", ""]
    lines += ["Made by `benchmarks/ingest.py` from `ingest.json`; do not edit.", ""]
    lines += [
        "*Ours* is all of what `download` does with a folder: listing, decoding to the working",
        "resolution, hashing, the search for duplicates, canonical order, the array on the disk.",
        "*Bare* opens each file with Pillow, decodes it to an RGB array and drops it. The rounds",
        "are interleaved, the files in the page cache. Memory is the peak over all processes of a",
        "run together: anonymous, which is what a process needs, and with its share of mapped",
        "files, which the system takes back when it is short.",
        "",
    ]
    for part in page.values():
        m = part["machine"]
        lines += [
            f"## {part['n_files']:,} {part['what']}, size_px {part['size_px']}",
            "",
            f"Median of {part['repeats']} runs. {m['cpu']}, {m['cores']} cores, Python "
            f"{m['python']}, Pillow {part['pillow']}, load before {m['load_before']}.",
            "",
            "| | images/s | seconds | runs | CPU seconds | anonymous, MiB | with files, MiB |",
            "|---|---:|---:|---|---:|---:|---:|",
        ]
        for name, row in part["rows"].items():
            runs = ", ".join(f"{run:.1f}" for run in row["runs_s"])
            lines.append(
                f"| {name} | {part['n_files'] / row['median_s']:,.0f} | {row['median_s']:.1f} "
                f"| {runs} | {row['cpu_s']:.1f} | {row['anonymous_mib']:.0f} "
                f"| {row['mapped_mib']:.0f} |"
            )
        rows = part["rows"]
        ratio = rows["bare, all cores"]["median_s"] / rows["ours, all cores"]["median_s"]
        work = rows["ours, all cores"]["cpu_s"] / rows["bare, all cores"]["cpu_s"]
        lines += [
            "",
            f"Ours runs at {ratio:.2f} of the bare loop's speed on as many cores and takes "
            f"{work:.2f} of its CPU time, imports included; the images take "
            f"{part['array_mib']:.0f} MiB.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"
