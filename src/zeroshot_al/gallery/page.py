"""gallery.html: what was picked and why."""

from collections.abc import Sequence

from zeroshot_al.gallery.charts import MapChart, RadiusChart
from zeroshot_al.gallery.html import render
from zeroshot_al.gallery.overview import Overview


def render_gallery(overview: Overview, label_pages: Sequence[str] = ()) -> str:
    """Make the page, with links to the pages beside it in which the picks can be labelled."""
    return render(
        "gallery.html.j2",
        ["gallery.css"],
        ["gallery.js"],
        vars(overview),
        label_pages=label_pages,
        radius_chart=RadiusChart(overview.curve),
        map_chart=MapChart(overview.pool_map, overview.picks),
    )
