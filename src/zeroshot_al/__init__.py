"""Zero-shot active learning: order an unlabelled pool once, label any prefix."""

__all__ = ["zero_shot_order"]


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for: most stages and tools do without."""
    if name in __all__:
        from zeroshot_al import coverage

        return getattr(coverage, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
