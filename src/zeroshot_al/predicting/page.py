"""predictions.html: guesses to look at, what is confused, and labels that may be wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.base.pool import Pool
from zeroshot_al.gallery.charts import nice_ceiling, ticks
from zeroshot_al.gallery.html import render
from zeroshot_al.predicting.assessment import HeldOut
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.report import Guesses, sentences

MOST_THUMBNAILS = 600
MOST_OF_A_CLASS, MOST_DOUBTFUL = 6, 48
LARGEST_MATRIX, MOST_CONFUSIONS = 25, 40


@dataclass(frozen=True)
class Shown:
    """An image of the page.

    Parameters
    ----------
    index : int
        Of the pool.
    guess : str
    probability : float
    label : str
        What it was labelled; "" without.
    """

    index: int
    guess: str
    probability: float
    label: str = ""


class RoundsChart:
    """The drawing of the accuracy by the number of labels, a point a round with its interval."""

    width, height = 440, 250
    left, right, top, bottom = 46, 414, 14, 206  # edges of the plot

    def __init__(self, rounds: Sequence[Mapping]) -> None:
        self._most = max(row["labels"] for row in rounds)
        self._top = min(1.0, nice_ceiling(max(row["accuracy"].high for row in rounds)))
        self.ticks = [(f"{tick:.0%}", self.y(tick)) for tick in ticks(self._top)]
        self.points = [
            {
                "labels": row["labels"],
                "x": self.x(row["labels"]),
                "y": self.y(row["accuracy"].value),
                "low": self.y(max(0.0, row["accuracy"].low)),
                "high": self.y(min(self._top, row["accuracy"].high)),
            }
            for row in rounds
        ]

    def x(self, n_labels: int) -> float:
        """Place of a number of labels, from 0."""
        return round(self.left + n_labels / self._most * (self.right - self.left), 1)

    def y(self, accuracy: float) -> float:
        """Place of an accuracy, from 0."""
        return round(self.bottom - accuracy / self._top * (self.bottom - self.top), 1)


def render_predictions(
    pool: Pool, labelled: Labelled, held: HeldOut, guesses: Guesses, summary: dict
) -> str:
    """Make the page.

    Parameters
    ----------
    pool, labelled, held, guesses
    summary : dict
        As `summarise` returns it.
    """
    by_class = surest_and_least(labelled, guesses)
    doubtful = [
        _held_out(labelled, held, place) for place in held.doubtful()[:MOST_DOUBTFUL].tolist()
    ]
    rounds = summary["rounds"]
    return render(
        "predictions.html.j2",
        ["gallery.css", "predictions.css"],
        [],
        summary,
        pool=pool,
        said=sentences(summary),
        by_class=by_class,
        doubtful=doubtful,
        n_guessed=pool.n_train - len(labelled.indices),
        names=labelled.classes,
        confusion=held.confusion() if len(labelled.classes) <= LARGEST_MATRIX else None,
        confusions=most_confused(held, labelled.classes),
        chart=RoundsChart(rounds) if len(rounds) > 1 else None,
    )


def surest_and_least(
    labelled: Labelled, guesses: Guesses
) -> list[tuple[str, int, list[Shown], list[Shown]]]:
    """List each class, how many images are guessed to be of it, the surest and the least sure.

    Only images without a label count; the more classes, the fewer images of each.
    """
    n_each = max(1, min(MOST_OF_A_CLASS, MOST_THUMBNAILS // (2 * len(labelled.classes))))
    unlabelled = np.ones(len(guesses.codes), dtype=bool)
    unlabelled[labelled.indices] = False
    found = []
    for code, name in enumerate(labelled.classes):
        members = np.flatnonzero((guesses.codes == code) & unlabelled)
        members = members[np.argsort(-guesses.probability[members], kind="stable")]
        shown = [Shown(int(i), name, float(guesses.probability[i])) for i in members]
        n_last = min(n_each, len(shown) - min(n_each, len(shown)))
        found.append((name, len(shown), shown[:n_each], shown[::-1][:n_last]))
    return found


def most_confused(held: HeldOut, names: Sequence[str]) -> list[dict]:
    """List the pairs of a label and a wrong guess, the most frequent first."""
    counts = held.confusion()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [
        {"label": names[row], "guess": names[column], "images": int(counts[row, column])}
        for row, column in pairs
        if counts[row, column]
    ]


def _held_out(labelled: Labelled, held: HeldOut, place: int) -> Shown:
    names = labelled.classes
    return Shown(
        index=int(labelled.indices[held.places[place]]),
        guess=names[held.guesses[place]],
        probability=float(held.confidence[place]),
        label=names[held.codes[place]],
    )
