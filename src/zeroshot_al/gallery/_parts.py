"""Pieces of the gallery's HTML. Every name that came from the user's files is escaped here."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

LARGE_PX = 160  # longest side of a thumbnail
PIXELATED_BELOW_PX = 64  # smaller images are shown as they are, with crisp pixels
MOST_ROWS = 24  # of a table


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


def image_tag(pixels: np.ndarray, text: str) -> str:
    address, small = thumbnail(pixels)
    crisp = " class=pixels" if small else ""
    return f'<img{crisp} src="{address}" alt="{escape(text)}">'


def table(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> str:
    columns = [name for name in columns if name in rows[0]]
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(row[name] or '')}</td>" for name in columns) + "</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = len(rows) - MOST_ROWS
    rest = f'<p class="note">and {more:,} more</p>' if more > 0 else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'
        f"</div>{rest}"
    )


def code_block(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"
