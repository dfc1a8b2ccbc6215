"""Embeddings of the pool by an encoder, and how good they are."""
