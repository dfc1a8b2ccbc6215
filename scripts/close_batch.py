"""Write the batch that is in data/annotate into batches/, once a label of it came back.

`make annotate` and `make train` run this after the labels are joined. The next batch then holds
none of its images; before that, `make annotate` makes the same batch again.
"""

from pathlib import Path

from zeroshot_al.gallery.exports import ORDER_HEADER
from zeroshot_al.process.stage import run_stage
from zeroshot_al.rounds import close_batch, read_batches, read_labelled
from zeroshot_al.sources.spreadsheet import read_own_table

ORDER, LABELS, BATCHES = Path("data/annotate/order.csv"), "data/labels", "batches"


def main() -> None:
    """Close the batch, and say how much of it is labelled, and of which others no label is left."""
    if not ORDER.exists():
        return
    reasons = {row["id"]: row["reason"] for row in read_own_table(ORDER, ORDER_HEADER)}
    labelled = read_labelled(LABELS)
    if path := close_batch(reasons, labelled, BATCHES):
        n_back = len(reasons.keys() & set(labelled))
        rest = "; labels of the others can still come" if n_back < len(reasons) else ""
        print(f"{path}: {n_back} of these {len(reasons)} images are labelled{rest}.")
        print("The next `make annotate` gives out other images.")
    for number, batch in read_batches(BATCHES).items():
        if batch.keys().isdisjoint(labelled):
            print(f"{BATCHES}/{number}.csv: its labels are gone. LABELS takes the place of the")
            print("files that were given before it: name all of them, in quotes.")


if __name__ == "__main__":
    run_stage(main)
