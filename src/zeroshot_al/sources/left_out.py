"""What a source left out of the pool, or only reports: `duplicates.csv` and `rejected.csv`.

They are for people to look through: ids that a spreadsheet would run are quoted in them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroshot_al.sources.duplicates import Duplicate
from zeroshot_al.sources.spreadsheet import read_own_table, write_table

REJECTED_HEADER = ("id", "reason")


@dataclass(frozen=True)
class LeftOut:
    """Rows of the two files; empty for a source that knows nothing of the kind.

    Parameters
    ----------
    copies, near : list of dict
        With id, duplicate_of, kind and distance: equal images, which are not in the pool, and
        nearly equal ones, which are.
    rejected : list of dict
        With id and reason: files that gave no image.
    """

    copies: list[dict[str, str]]
    near: list[dict[str, str]]
    rejected: list[dict[str, str]]

    @property
    def kept_for(self) -> dict[str, str]:
        """The id that was kept, by that of each dropped copy."""
        return {row["id"]: row["duplicate_of"] for row in self.copies}


def write_duplicates(directory: Path, duplicates: Sequence[Duplicate]) -> None:
    """Write `duplicates.csv` into a pool's directory."""
    write_table(directory / "duplicates.csv", Duplicate._fields, duplicates)


def write_rejected(directory: Path, rejected: Mapping[str, str]) -> None:
    """Write `rejected.csv`, the reasons by id."""
    write_table(directory / "rejected.csv", REJECTED_HEADER, sorted(rejected.items()))


def read_left_out(directory: str | Path) -> LeftOut:
    """Read both files; either may be absent.

    Raises
    ------
    InputError
        If one is there and has other columns.
    """
    duplicates, rejected = (
        read_own_table(path, header) if (path := Path(directory, name)).exists() else []
        for name, header in (
            ("duplicates.csv", Duplicate._fields),
            ("rejected.csv", REJECTED_HEADER),
        )
    )
    copies = [row for row in duplicates if row["kind"] == "exact"]
    return LeftOut(copies, [row for row in duplicates if row["kind"] != "exact"], rejected)
