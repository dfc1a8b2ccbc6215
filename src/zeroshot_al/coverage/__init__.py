"""Orders by kernel coverage, and the recommended order."""

from zeroshot_al.coverage.mixture import ZeroShotOrder, zero_shot_order
from zeroshot_al.coverage.order import CoverageOrder, coverage_order

__all__ = ["CoverageOrder", "ZeroShotOrder", "coverage_order", "zero_shot_order"]
