"""gallery.html: what was picked and why, one page that needs no network.

Everything is inside the file: style, script, drawings, and thumbnails as data addresses. A content
security policy forbids the browser to load anything else, and to run any script but ours. Every
name that came from the user's files goes through `html.escape`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from html import escape
from pathlib import PurePosixPath

import numpy as np

from zeroshot_al.gallery._assets import SCRIPT, STYLE
from zeroshot_al.gallery._import import import_section
from zeroshot_al.gallery._parts import image_tag, percent, table
from zeroshot_al.gallery._pool import clusters_section, coverage_section, map_section
from zeroshot_al.gallery.exports import Pick
from zeroshot_al.gallery.overview import Overview

N_FIRST, N_LAST, N_ISOLATED = 48, 24, 24


def render_gallery(view: Overview) -> str:
    """Make the page."""
    sections = [
        ("first", "First picks", _first(view)),
        ("isolated", "Most isolated picks", _isolated(view)),
        ("last", "Last picks within the budget", _last(view)),
        ("coverage", "Covering radius", coverage_section(view)),
        ("map", "Map of the pool", map_section(view)),
        ("clusters", "Clusters", clusters_section(view)),
        ("removed", "Files left out", _removed(view)),
        ("import", "Into your labelling tool", import_section(view)),
    ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{content}</section>'
        for anchor, title, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>What to label first: {len(view.picks):,} of {view.n_pool:,} images</title>\n"
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{_headline(view)}<nav>{links}</nav></header>\n<main>{body}</main>\n"
        f"<footer>{escape(view.method)}. The page is one file and loads nothing.</footer>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _headline(view: Overview) -> str:
    budget, removed = len(view.picks), view.removed
    tiles = [
        (f"{view.n_pool:,}", "images in the pool", False),
        (f"{budget:,}", f"to label: the budget, {percent(budget / view.n_pool)}", False),
    ]
    if view.knee is not None:
        tiles.append((f"{view.knee:,}", "labels, a suggested first stop", True))
    if view.n_labelled:
        tiles.append((f"{view.n_labelled:,}", "labelled already", False))
    tiles.append((f"{len(removed.copies):,}", "duplicates removed", False))
    tiles.append((f"{len(removed.rejected):,}", "files rejected", False))
    items = "".join(
        f"<li{' class=hot' if hot else ''}><b>{number}</b><span>{text}</span></li>"
        for number, text, hot in tiles
    )
    return (
        "<h1>Which images to label first</h1>"
        f'<p class="lead">{budget:,} of {view.n_pool:,} images, in the order in which they are '
        "worth labelling: each is the one least like all before it. Stop wherever you like; any "
        "first part of the order is the answer for that many labels.</p>"
        f'<ul class="tiles">{items}</ul>'
    )


def _first(view: Overview) -> str:
    return (
        "<p>Label from here on; #0 is rank 0, the first. The radius under an image is "
        "its distance to the nearest earlier pick, from 0 (the same direction in the encoder's "
        "features) to 2 (opposite).</p>"
        + _thumbs(view, range(min(N_FIRST, len(view.picks))), _radius)
    )


def _last(view: Overview) -> str:
    start = max(0, len(view.picks) - N_LAST)
    return (
        "<p>The end of the budget. If these look like what you have seen before, fewer labels may "
        "do.</p>" + _thumbs(view, range(start, len(view.picks)), _radius)
    )


def _isolated(view: Overview) -> str:
    ranks = sorted(range(len(view.picks)), key=lambda r: -view.picks[r].outlier_score)
    shown = ranks[:N_ISOLATED]
    early = max(1, len(view.picks) // 10)
    n_early = sum(rank < early for rank in shown)
    return (
        "<p>Look at these before you label. They are farthest from their nearest neighbours in the "
        "whole pool: rare and valuable, or broken, mislabelled and off topic. The rule favours "
        f"such images: {n_early} of these {len(shown)} are among the first {early:,} picks. The "
        "number is the mean distance to the nearest neighbours.</p>"
        + _thumbs(view, shown, lambda pick: f"apart {pick.outlier_score:.2f}")
    )


def _radius(pick: Pick) -> str:
    return f"radius {pick.radius:.2f}" if np.isfinite(pick.radius) else "start point"


def _thumbs(view: Overview, ranks: Iterable[int], note: Callable[[Pick], str]) -> str:
    items = []
    for rank in ranks:
        pick, picture = view.picks[rank], ""
        if view.images is not None:
            picture = image_tag(view.images[view.order[rank]], f"{pick.id}, rank {rank}")
        items.append(
            f'<li title="{escape(pick.id)}">{picture}<b>#{rank:,}</b>'
            f"<span>{note(pick)}</span><span>{escape(PurePosixPath(pick.id).name)}</span></li>"
        )
    plain = " plain" if view.images is None else ""
    return f'<ul class="thumbs{plain}">{"".join(items)}</ul>'


def _removed(view: Overview) -> str:
    duplicates, near, rejected = view.removed.copies, view.removed.near, view.removed.rejected
    if not duplicates and not near and not rejected:
        return "<p>None: no duplicate was removed from the pool, and no file was rejected.</p>"
    parts = []
    if duplicates:
        groups = len({row["duplicate_of"] for row in duplicates})
        parts.append(
            f"<h3>Duplicates: {len(duplicates):,}, of {groups:,} kept</h3>"
            "<p>Label the kept image; its label holds for the copies.</p>"
            + table(duplicates, ("id", "duplicate_of"))
        )
    if near:
        parts.append(
            f"<h3>Near-duplicates: {len(near):,}</h3>"
            "<p>Nearly equal images; all of them are still in the pool. The distance is in bits of "
            "a perceptual hash.</p>" + table(near, ("id", "duplicate_of", "distance"))
        )
    if rejected:
        parts.append(
            f"<h3>Rejected files: {len(rejected):,}</h3>" + table(rejected, tuple(rejected[0]))
        )
    return "".join(parts)
