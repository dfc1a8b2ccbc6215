"""The page of `benchmarks/torture.py`: what was done, seen and lost, as Markdown."""

TITLES = {
    "kills": "Kill -9 of every stage",
    "replacing": "A crash while outs take their places",
    "signals": "SIGTERM, Ctrl-C, and DVC killed",
    "two": "Two runs at once",
    "ranks": "A rank killed",
    "disk": "A full disk",
    "readonly": "A read-only disk",
    "cache": "DVC's cache damaged",
    "truncated": "Files cut short",
    "checkpoints": "Checkpoints damaged",
    "nan": "NaN",
    "ingestion": "Images that change while they are read",
    "memory": "Too little memory",
}


def render(results: dict) -> str:
    rows = [row for part in results.values() for row in part["rows"]]
    done = [row for row in rows if not row["skipped"]]
    lost = [row for row in done if row["lost"] != "nothing"]
    missed = [row for row in done if row["missed"]]
    compared = [row for row in done if row["same_bytes"] is not None]
    same = sum(row["same_bytes"] for row in compared)
    lines = ["# Reliability", ""]
    lines += ["Made by `make torture` (`benchmarks/torture.py`) from "
              "[torture.json](benchmarks/torture.json); do not edit.", ""]  # fmt: skip
    lines += [
        "Each row was done to a copy of a finished demo: with a few more training steps than the",
        "tests take, and a checkpoint at every chance rather than every ten seconds. Then `dvc",
        "repro` ran, and the sha256 of every out and the bytes of `dvc.lock` were compared with",
        "those of the run that nobody had disturbed. Where a stage was ended, its outs were taken",
        "out of DVC's cache first, so that they are made again and do not come from there. The",
        "random moments come from fixed seeds. Seconds include the recovery.", "",
        "A stage is killed in a chain: each run goes on from what the last kill left, most runs",
        "without DVC, each fifth in a `dvc repro`. After each kill every file in place has to be",
        "whole, and those of the other stages there. 15% of the moments are drawn over the",
        "imports, the others over the work; of a stage with checkpoints 34% lie within 0.05 s of",
        "one. A run that ends before its moment counts as no kill. At the end `dvc repro`",
        "finishes the stage.", "",
        f"**{len(done)} rows, {len(lost)} of which lost something and {len(missed)} of which "
        f"disturbed nothing; {same} of {len(compared)} compared came out with the same bytes.**",
        "",
    ]  # fmt: skip
    if missing := [title for name, title in TITLES.items() if name not in results]:
        lines += [f"Not run yet: {', '.join(missing)}.", ""]
    for name, part in results.items():
        m = part["machine"]
        lines += [
            f"## {TITLES[name]}", "",
            f"{m['cpu']}, {m['cores']} cores, Python {m['python']}, load before "
            f"{m['load_before']}.", "",
            "| done | seen | lost | same bytes | seconds |", "|---|---|---|---|---:|",
        ]  # fmt: skip
        for row in part["rows"]:
            same = {True: "yes", False: "**no**", None: "not compared"}[row["same_bytes"]]
            loss = row["lost"] if row["lost"] == "nothing" else f"**{cell(row['lost'])}**"
            if row["missed"]:
                loss = f"**disturbed nothing: {cell(row['missed'])}**"
            if row["skipped"]:
                loss, same = f"skipped: {row['skipped']}", ""
            lines.append(
                f"| {row['what']} | {cell(row['seen'])} | {loss} | {same} | {row['seconds']:.0f} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def cell(text: str) -> str:
    """Shorten a sentence and keep it out of the table's syntax."""
    text = text.replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= 320 else text[:317] + "..."
