"""Pools on disk, as the stage `download` writes them."""

from pathlib import Path

from zeroshot_al.base.files import replaced_directory
from zeroshot_al.base.pool import Pool, save_pool


def write_pool(pool: Pool, directory: str | Path) -> None:
    """Write a pool's directory whole or not at all, in the place of what is there."""
    with replaced_directory(directory) as temporary:
        save_pool(pool, temporary)
