"""Pages that need no network: what all of them share.

All is inside a page's file: style, script, drawings, and thumbnails as data addresses. A content
security policy forbids the browser to load anything else, and to run any script but ours. The
templates escape every text, and so every name that came from the user's files.
"""

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zeroshot_al.gallery.thumbnails import thumbnail

TEMPLATES = Path(__file__).parent / "templates"
LARGE_PX = 160  # longest side of a thumbnail


def render(
    template: str, styles: Sequence[str], scripts: Sequence[str], *context: dict, **more: object
) -> str:
    """Render a template with its styles and scripts, and the digest that its policy allows."""
    script = _joined(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(*context, **more, style=_joined(styles), script=script, script_digest=digest)
    )


def _joined(names: Sequence[str]) -> str:
    return "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["thumbnail"] = partial(thumbnail, longest_px=LARGE_PX)
    environment.tests["finite"] = math.isfinite
    environment.filters |= {
        "thousands": "{:,}".format,
        "percent": percent,
        "first_part": lambda name: PurePosixPath(name).parts[0],
        "last_part": lambda name: PurePosixPath(name).name,
        "cvat_labels": lambda names: json.dumps([{"name": name} for name in names]),
        "shell_quote": lambda path: shlex.quote(str(path)),
        "python_string": lambda path: repr(str(path)),
    }
    return environment


def percent(share: float) -> str:
    """Write a share in percent, with a decimal below ten."""
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"
