"""Fit a model to the labels that came back, and guess the rest of the pool.

Reads   data/pool/, data/embeddings/, data/labels/, batches/; models/<method>/ to fine-tune an
        encoder, to test on a folder, and to name it in the model
Writes  data/predictions/ (predictions.csv: id, predicted, probability, margin, labelled;
        predictions.html; model.safetensors and model.json; summary.json); empty without labels
Params  seeds, profiles.<profile>.{classifier, embed, encoder, labels, order}
Paper   not in it: its classifier is trained from scratch, as labels.model network does
"""

import logging
from pathlib import Path

from zeroshot_al.base.errors import printable
from zeroshot_al.base.files import atomic_path, read_npy, replaced_directory, write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import embedding_files, load_pool
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.embedding.probe import EmbedParams
from zeroshot_al.gallery.guesses import PREDICTIONS_HEADER
from zeroshot_al.labels.labelling import LabelsParams
from zeroshot_al.orders import OrderParams, choose_method
from zeroshot_al.predicting.fitting import Embedded, fit_model
from zeroshot_al.predicting.labelled import read_labels
from zeroshot_al.predicting.page import render_predictions
from zeroshot_al.predicting.report import Guesses, plain, pool_labels, sentences
from zeroshot_al.predicting.saved import encoder_used, save_model
from zeroshot_al.predicting.summary import summarise
from zeroshot_al.process.stage import run_stage
from zeroshot_al.rounds import read_batches
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams
from zeroshot_al.sources.spreadsheet import write_table

POOL, EMBEDDINGS, MODELS = "data/pool", "data/embeddings", "models"


def main() -> None:
    """Run the stage."""
    params = load_section("labels", LabelsParams)
    classifier = load_section("classifier", ClassifierParams)
    encoder, onnx = load_section("encoder", EncoderParams), load_section("embed", EmbedParams).onnx
    order_method, seed = load_section("order", OrderParams).method, load_experiment().seeds[0]
    pool = load_pool(POOL)
    labelled = read_labels(pool, "data/labels", read_batches("batches"))
    with replaced_directory("data/predictions") as directory:
        directory.mkdir(parents=True)
        if labelled is None:
            logging.info("no labels came back yet: nothing to predict by")
            return
        method, file = choose_method(order_method, EMBEDDINGS, embedding_files(EMBEDDINGS))
        embedded = Embedded.of(read_npy(file, memory_map=True)[: pool.n_train])
        used = None
        if not Path(POOL, READY_MADE).exists():
            used = encoder_used(method, encoder, onnx, MODELS)
        fitted = fit_model(pool, embedded, labelled, params, classifier, used, seed, POOL, MODELS)
        guesses = Guesses.of(fitted.pool_logits, fitted.card.temperature)
        labels = pool_labels(labelled, pool.n_train)
        rows = guesses.rows(pool.train_ids, labelled.classes, labels)
        write_table(directory / "predictions.csv", PREDICTIONS_HEADER, rows)
        save_model(directory, fitted.card, fitted.tensors)
        summary = summarise(embedded, labelled, fitted, MODELS)
        write_json(directory / "summary.json", plain(summary))
        page = render_predictions(pool, labelled, fitted.held, guesses, summary)
        with atomic_path(directory / "predictions.html") as temporary:
            temporary.write_bytes(page.encode())
    for sentence in sentences(summary):
        logging.info("%s", printable(sentence))


if __name__ == "__main__":
    run_stage(main)
