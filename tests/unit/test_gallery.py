"""The page as a browser reads it: parsed here, and drawn where Chromium is installed."""

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from browser import SCREENS, Tab, needs_browser, screen
from unit.test_covering_radii import make_rows
from unit.test_exports import NAMES
from zeroshot_al.base.pool import Pool
from zeroshot_al.gallery.annotation import AnnotateParams, make_picks
from zeroshot_al.gallery.charts import nice_ceiling, shade, shade_limits, ticks
from zeroshot_al.gallery.html import LARGE_PX
from zeroshot_al.gallery.overview import make_overview
from zeroshot_al.gallery.page import render_gallery
from zeroshot_al.gallery.thumbnails import thumbnail
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.sources.left_out import LeftOut

BUDGET = 60
SECTIONS = ["first", "isolated", "last", "coverage", "map", "clusters", "removed", "import"]
VOID = {"meta", "link", "img", "input", "br"}


def make_page(height=16, budget=BUDGET, rule="zero_shot"):
    """A page on a pool whose first names are hostile."""
    rows = make_rows()
    ids = (*NAMES, *(f"photo {i}.png" for i in range(len(rows) - len(NAMES))))
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (len(rows), height, 16, 3), dtype=np.uint8)
    pool = Pool(images, ids, ("train",) * len(ids), ("",) * len(ids))
    # Start at the names' own end, so that they are among the picks.
    found = kcenter_order(rows, len(rows), n_initial=1, seed=0)
    rest = [index for index in found.order if index >= len(NAMES)]
    order = [*range(len(NAMES)), *rest]
    copy = {"id": f"copy of {NAMES[1]}", "duplicate_of": NAMES[1], "kind": "exact", "distance": "0"}
    rejected = {"id": "<img src=x onerror=alert(1)>", "reason": '"broken"'}
    left_out = LeftOut([copy] * 30, [], [rejected])
    nothing = np.empty(0, dtype=np.int64)
    params = AnnotateParams(0.0, True, 5, 4, 3, 50, 0)
    reasons = ["representative", "representative", "far"] * (budget // 3 + 1)
    picks = make_picks(pool, rows, order[:budget], reasons, nothing, left_out, params, None)
    overview = make_overview("SimCLR", rule, pool, rows, picks, nothing, left_out, params, None)
    return render_gallery(overview)


class Page(HTMLParser):
    """Elements, texts and addresses of a page; a tag that is not closed fails."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for found, attrs in self.elements if found == tag]


@pytest.fixture(scope="module")
def page():
    return make_page()


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def test_every_section_is_there_and_linked(parsed):
    assert [attrs["id"] for attrs in parsed.all("section")] == SECTIONS
    assert [attrs["href"] for attrs in parsed.all("a")] == [f"#{name}" for name in SECTIONS]
    identifiers = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(set(identifiers)) == len(identifiers)


def test_nothing_is_loaded_from_anywhere(page, parsed):
    assert all(attrs["src"].startswith("data:image/") for attrs in parsed.all("img"))
    assert [attrs["href"] for attrs in parsed.all("link")] == ["data:,"]
    assert "src" not in parsed.all("script")[0]
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_policy_allows_our_script_and_no_other(page, parsed):
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_names_are_text(parsed):
    text = "".join(parsed.texts)
    titles = [attrs["title"] for attrs in parsed.all("li") if "title" in attrs]
    alts = [attrs["alt"] for attrs in parsed.all("img")]
    for rank, name in enumerate(NAMES):
        assert PurePosixPath(name).name in text
        assert name in titles
        assert f"{name}, rank {rank}" in alts
    assert "<img src=x onerror=alert(1)>" in text
    assert len(parsed.all("script")) == 1
    assert not any(key.startswith("on") for _, attrs in parsed.elements for key in attrs)


def test_every_picture_has_a_text_and_every_drawing_a_label(parsed):
    assert all(attrs.get("alt") for attrs in parsed.all("img"))
    assert all(
        "aria-label" in attrs or attrs.get("aria-hidden") == "true" for attrs in parsed.all("svg")
    )


def test_the_page_tells_the_numbers(page):
    assert "<b>300</b><span>images in the pool" in page
    assert f"<b>{BUDGET}</b><span>to label" in page
    assert "<b>30</b><span>duplicates removed" in page
    assert "Duplicates: 30, of 1 kept" in page
    assert "and 6 more" in page
    assert page.count("data-rank=") == 50 - page.split('<g class="pool">')[1].split("</g>")[
        0
    ].count("<circle")


def test_a_pool_without_images_shows_ids():
    page = make_page(height=0)
    assert "<img" not in page.replace("&lt;img", "")
    parsed = Page(page)
    assert [attrs["id"] for attrs in parsed.all("section")] == SECTIONS
    assert PurePosixPath(NAMES[0]).name in "".join(parsed.texts)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (63, 20), (64, 64), (300, 1200)])
def test_thumbnails_are_small_and_alike(height, width):
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 60], axis=2)
    pixels = pixels.astype(np.uint8)
    address, small = thumbnail(pixels, LARGE_PX)
    head, code = address.split(",")
    image = Image.open(io.BytesIO(base64.b64decode(code)))
    assert head == f"data:image/{'png' if small else 'jpeg'};base64"
    assert small == (max(height, width) < 64)
    if small:
        assert (np.asarray(image) == pixels).all()
    else:
        assert max(image.size) <= 160
        difference = np.asarray(image.resize((width, height)), float) - pixels
        assert np.abs(difference).mean() < 6


def test_ticks_are_round_and_reach_the_top():
    assert ticks(20_000) == [0, 5000, 10000, 15000, 20000]
    assert ticks(1.2) == [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]
    for top in (0.003, 1, 7, 560, 123_456):
        assert 3 <= len(ticks(top)) <= 7
        assert nice_ceiling(top) >= top
    assert nice_ceiling(0) == 1


@pytest.mark.parametrize("budget", [1, 2])
def test_a_tiny_budget_has_a_page(budget):
    text = make_page(budget=budget).split('aria-label="Covering radius')[1].split("</svg>")[0]
    counts = re.findall(r'text-anchor="middle">(\d+)<', text)
    assert counts == ["1", "2"]


@pytest.mark.parametrize("budget", [1, 2, 3, 60, 20_000])
def test_every_rank_has_a_shade(budget):
    limits = shade_limits(budget)
    assert limits == sorted(set(limits))
    shades = [shade(rank, limits) for rank in range(budget)]
    assert shades == sorted(shades)
    assert (shades[0], set(shades) <= {0, 1, 2, 3}) == (0, True)


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_chromium_draws_the_page(browser, page, tmp_path, width, scheme):
    file = tmp_path / "gallery.html"
    file.write_text(page, encoding="utf-8")
    tab = Tab(screen(browser, width, scheme), file)
    # Our script ran, and nothing that a name brought in did.
    assert tab.text("#count-label") == f"First {BUDGET} picks"
    tab.page.fill("#count-slider", "0")
    assert tab.text("#count-label") == "First 1 pick"
    assert tab.page.locator("script").count() == 1
    assert tab.page.title() == f"What to label first: {BUDGET} of 300 images"
    tab.check()
    shot = tab.page.screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    assert len(colours) > 200
    assert 0.2 < counts.max() / len(pixels) < 0.97
    assert (colours[counts.argmax()].sum() > 384) == (scheme == "light")
