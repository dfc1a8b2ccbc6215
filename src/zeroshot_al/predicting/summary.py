"""summary.json: the model, how good it is, and what each round of labels added."""

import numpy as np
from threadpoolctl import threadpool_limits

from zeroshot_al.predicting.accuracy import share
from zeroshot_al.predicting.assessment import assess, compare_with_random, gains
from zeroshot_al.predicting.fitting import Embedded, Fitted, likeness
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.saved import model_logits


def summarise(embedded: Embedded, labelled: Labelled, fitted: Fitted, models_dir: str) -> dict:
    """Return what summary.json holds, with `Estimate` for each figure that has an interval."""
    card, held = fitted.card, fitted.held
    counts = np.bincount(labelled.codes, minlength=len(labelled.classes)).tolist()
    summary = {
        "model": card.model,
        "encoder": None if card.encoder is None else card.encoder.method,
        "encoder_sha256": None if card.encoder is None else card.encoder.sha256,
        "labels": len(labelled.codes),
        "classes": dict(zip(labelled.classes, counts, strict=True)),
        "single_label_classes": labelled.single_classes,
        "strength": fitted.strength,
        "temperature": card.temperature,
        "doubtful_labels": len(held.doubtful()),
    }
    like = likeness(embedded, labelled, fitted)
    summary |= assess(held, like, labelled)
    summary |= {"accuracy_test": None, "rounds": [], "order_and_random": None}
    if summary["accuracy"] is not None:
        rows = embedded.rows(labelled.indices)
        with threadpool_limits(1):
            summary["rounds"] = gains(rows, labelled, fitted.folds, held, like)
            summary["order_and_random"] = compare_with_random(rows, labelled, fitted.folds)
    if len(labelled.test_codes):
        answers = model_logits(card, fitted.tensors, labelled.test_images, models_dir)
        right = np.concatenate(list(answers)).argmax(axis=1) == labelled.test_codes
        summary["accuracy_test"] = share(int(right.sum()), len(right))
    return summary
