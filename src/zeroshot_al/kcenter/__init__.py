"""Greedy k-center: order a pool by its embeddings, farthest point first."""

from zeroshot_al.kcenter.kcenter import kcenter_order

__all__ = ["kcenter_order"]
