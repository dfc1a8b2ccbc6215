"""Pretraining of an encoder without labels: views, the loop, the encoder and its file."""
