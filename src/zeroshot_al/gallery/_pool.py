"""The gallery's sections on the whole pool: how far the picks cover it, its map, its clusters."""

import numpy as np

from zeroshot_al.gallery._parts import image_tag, percent
from zeroshot_al.gallery.charts import map_chart, radius_chart, shade_limits
from zeroshot_al.gallery.overview import Overview


def coverage_section(view: Overview) -> str:
    chart = radius_chart(view.counts, view.radii, view.random_counts, view.random_radii, view.knee)
    last, random = float(view.radii[-1]), view.random_radii[:, -1]
    mean = float(random.mean())
    words = (
        "<p>The covering radius is the distance of the worst covered image to its nearest labelled "
        f"one. After {view.counts[-1]:,} labels it is <b>{last:.3f}</b> in this order and "
        f"<b>{mean:.3f}</b> in a random one (mean of {len(random)}; band: "
        f"{random.min():.3f} to {random.max():.3f}).</p>"
    )
    equal = next((c for c, r in zip(view.counts, view.radii, strict=True) if r <= mean), None)
    if equal is not None and equal < view.counts[-1]:
        words += (
            f"<p>The order covers the pool that well after {equal:,} labels, "
            f"{percent(equal / view.counts[-1])} of them.</p>"
        )
    if view.knee is not None:
        words += (
            f"<p>The curve flattens at about <b>{view.knee:,}</b>, a fair first stop: label so "
            "many, train, then decide. It is a suggestion read off this curve alone (Kneedle). It "
            "moves with the budget, and does not know your model's accuracy.</p>"
        )
    else:
        words += "<p>The curve has no clear bend within the budget, so no stop is suggested.</p>"
    band = '<path class="band" d="M0 0h26v12H0z"/><path class="random" d="M1 6h24"/>'
    key = _key('<path class="order" d="M1 6h24"/>', "this order")
    key = f'<ul class="key">{key}{_key(band, "random, mean and range")}</ul>'
    note = (
        '<p class="note">A small radius leaves no kind of image far from a label. It does not '
        "promise a better model: on some data random picks train as well.</p>"
    )
    return f'<div class="card two"><div>{chart}{key}</div><div>{words}{note}</div></div>'


def map_section(view: Overview) -> str:
    budget = len(view.picks)
    limits = shade_limits(budget)
    names = [f"first {limits[0]:,}" if limits[0] > 1 else "first pick"]
    names += [f"up to {limit:,}" for limit in limits[1:]]
    key = "".join(
        _key(f'<circle class="q{shade}" cx="13" cy="6" r="5"/>', name)
        for shade, name in enumerate(names)
        if not shade or limits[shade] > limits[shade - 1]
    )
    n_picked = len(np.intersect1d(view.pool_map.indices, view.order))
    if n_picked < len(view.pool_map.indices):
        key += _key('<g class="pool"><circle cx="13" cy="6" r="4"/></g>', "not picked")
    n_shown = len(view.pool_map.indices)
    which = f"{n_shown:,} of the pool's images: the first picks, and a random sample of the rest"
    if n_shown == view.n_pool:
        which = "Every image of the pool"
    return (
        f'<div class="card two"><div>{map_chart(view.pool_map, view.order)}</div>'
        f"<div><p>{which}. Alike images lie side by side (t-SNE); directions and the size of gaps "
        "mean nothing. Picks are shaded by rank.</p>"
        f'<ul class="key">{key}</ul>'
        '<div class="slider" hidden><label for="shown" id="shown-label">First picks</label>'
        f'<input type="range" id="shown" min="0" max="1000" value="1000" data-budget="{budget}">'
        "</div></div></div>"
    )


def _key(drawing: str, name: str) -> str:
    return f'<li><svg viewBox="0 0 26 12" aria-hidden="true">{drawing}</svg>{name}</li>'


def clusters_section(view: Overview) -> str:
    clusters, n_picks = view.clusters, len(view.picks)
    pool_shares = clusters.pool_counts / max(1, clusters.pool_counts.sum())
    pick_shares = clusters.pick_counts / max(1, n_picks)
    largest = max(float(pool_shares.max()), float(pick_shares.max()))
    items = []
    for number, typical in enumerate(clusters.typical):
        pictures = ""
        if view.images is not None:
            pictures = "".join(
                image_tag(view.images[index], f"typical image of cluster {number + 1}")
                for index in typical
            )
        bars = "".join(
            f'<div class="{kind}"><i style="width:{50 * share / largest:.1f}%"></i>'
            f"{count:,} ({percent(share)})</div>"
            for kind, count, share in (
                ("all", clusters.pool_counts[number], pool_shares[number]),
                ("picked", clusters.pick_counts[number], pick_shares[number]),
            )
        )
        items.append(
            f'<li><div class="typical">{pictures}</div><div class="bars">{bars}</div></li>'
        )
    key = _key('<path class="all" d="M0 1h26v10H0z"/>', "in the pool")
    key += _key('<path class="picked" d="M0 1h26v10H0z"/>', "among the picks")
    missed = int((clusters.pick_counts == 0).sum())
    last = f" {missed} of them got no pick." if missed else " Every one got picks."
    return (
        f"<p>The pool in {len(items)} groups of alike images (k-means), the most typical images of "
        f"each, its share of the pool, and its share of the picks.{last} A larger share of the "
        "picks means that the group is varied or rare.</p>"
        f'<ul class="key">{key}</ul><ul class="clusters">{"".join(items)}</ul>'
    )
