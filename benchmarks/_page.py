"""A benchmark's page: numbers in docs/benchmarks/NAME.json, and NAME.md made of them."""

import json
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"


def read_page(name: str) -> dict:
    """Return the numbers of a page, which may not be there yet."""
    numbers = FOLDER / f"{name}.json"
    return json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else {}


def update_page(name: str, render: Callable[[dict], str], new: dict) -> None:
    """Replace the parts of a page that were measured anew, and render and print the whole."""
    numbers, page = FOLDER / f"{name}.json", read_page(name)
    if new:
        page |= new
        FOLDER.mkdir(parents=True, exist_ok=True)
        numbers.write_text(json.dumps(page, indent=2) + "\n", encoding="utf-8")
    text = render(page)
    numbers.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
