"""The page of `benchmarks/million.py`."""


def render(page: dict) -> str:
    return "# A million images\n"
