"""The page of `benchmarks/engine.py`: the numbers as Markdown, each promise beside its figure."""

TITLES = {
    "simclr": "SimCLR step",
    "moco": "MoCo-v2 step, symmetric",
    "classifier": "Classifier step",
}

PRETRAINING = (TITLES["simclr"], TITLES["moco"])


def render(page: dict) -> str:
    lines = ["# The engine: images a second, ceiling and peers", ""]
    lines += ["Made by `benchmarks/engine.py` from `engine.json`; do not edit.", ""]
    for name, part in page.items():
        m, rates = part["machine"], part["product_rates"]
        lines += [
            f"## {name}",
            "",
            f"{m['cpu']}, {m['cores']} cores; {part['device']}, torch {part['torch']} with "
            f"{part['threads']} threads, Python {m['python']}, load before {m['load_before']}. "
            f"Medians of {part['repeats']} interleaved runs of {2 * part['steps']} steps. A "
            f"product of large matrices runs at {tera(rates['float32'])} TFLOP/s in float32 and "
            f"{tera(rates['bfloat16'])} in bf16. Memory is that of the process and, with workers, "
            "of the largest of them.",
            "",
        ]
        for task, contenders in part["tasks"].items():
            lines += table(TITLES[task], contenders, rates)
    return "\n".join(lines).rstrip() + "\n"


def table(title: str, contenders: dict, rates: dict) -> list[str]:
    lines = [
        f"### {title}",
        "",
        "| | images/s | runs | TFLOP/s | of bf16 peak | of float32 peak | peak memory, GiB |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name, row in contenders.items():
        runs = ", ".join(f"{run:,.0f}" for run in row["runs_images_per_s"])
        rate = row["operations_per_s"]
        shares = (
            f"{tera(rate)} | {rate / rates['bfloat16']:.0%} | {rate / rates['float32']:.0%}"
            if rate
            else "| | "
        )
        lines.append(
            f"| {name} | {row['images_per_s']:,.0f} | {runs} | {shares} | {row['peak_gib']:.2f} |"
        )
    rates_of = {name: row["images_per_s"] for name, row in contenders.items()}
    ours = rates_of.pop("ours")
    lines.append("")
    for name, other in rates_of.items():
        wish = ""
        if title in PRETRAINING:
            wish = {"lightly's loop": " (at least 3)"}.get(name, "")
            wish = " (at least 0.85)" if name == "ours without augmentation" else wish
        lines.append(f"- ours / {name}: {ours / other:.2f}{wish}")
    return [*lines, ""]


def tera(rate: float) -> str:
    return f"{rate / 1e12:.2f}"
