"""gallery.html: what was picked and why, one page that needs no network.

Everything is inside the file: style, script, drawings, and thumbnails as data addresses. A content
security policy forbids the browser to load anything else, and to run any script but ours. The
templates escape every text, and so every name that came from the user's files.
"""

import base64
import hashlib
import io
import math
import shlex
from pathlib import Path, PurePosixPath

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from zeroshot_al.gallery.charts import MapChart, RadiusChart
from zeroshot_al.gallery.overview import Overview

TEMPLATES = Path(__file__).parent / "templates"
LARGE_PX = 160  # longest side of a thumbnail
PIXELATED_BELOW_PX = 64  # smaller images are shown as they are, with crisp pixels


def render_gallery(overview: Overview) -> str:
    """Make the page."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["thumbnail"] = thumbnail
    environment.tests["finite"] = math.isfinite
    environment.filters |= {
        "thousands": "{:,}".format,
        "percent": percent,
        "first_part": lambda name: PurePosixPath(name).parts[0],
        "last_part": lambda name: PurePosixPath(name).name,
        "shell_quote": lambda path: shlex.quote(str(path)),
        "python_string": lambda path: repr(str(path)),
    }
    script = (TEMPLATES / "gallery.js").read_text(encoding="utf-8")
    return environment.get_template("gallery.html.j2").render(
        vars(overview),
        radius_chart=RadiusChart(overview.curve),
        map_chart=MapChart(overview.pool_map, overview.picks),
        style=(TEMPLATES / "gallery.css").read_text(encoding="utf-8"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def thumbnail(pixels: np.ndarray) -> tuple[str, bool]:
    """Encode an image as a data address.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3), uint8

    Returns
    -------
    str
        PNG of a small image, JPEG of at most `LARGE_PX` a side of any other.
    bool
        Whether it is small, to be shown with crisp pixels.
    """
    image, stream = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    small = max(image.size) < PIXELATED_BELOW_PX
    if small:
        image.save(stream, "PNG", optimize=True)
    else:
        image.thumbnail((LARGE_PX, LARGE_PX), Image.Resampling.LANCZOS)
        image.save(stream, "JPEG", quality=80, optimize=True)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", small


def percent(share: float) -> str:
    """Write a share in percent, with a decimal below ten."""
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"
