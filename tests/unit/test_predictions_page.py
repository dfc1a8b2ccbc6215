"""predictions.html as it is written, and as a browser shows it."""

import re

import numpy as np
import pytest

from browser import SCREENS, Tab, needs_browser, screen
from unit.test_gallery import Page
from zeroshot_al.base.pool import Pool
from zeroshot_al.labels.labelling import FinetuneParams, LabelsParams
from zeroshot_al.predicting.fitting import Embedded, fit_model
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.page import RoundsChart, render_predictions
from zeroshot_al.predicting.report import Guesses
from zeroshot_al.predicting.summary import summarise

HEAD = LabelsParams(None, None, None, None, "head", FinetuneParams(1, 0.1, 0, 0.0))
HOSTILE = ("<b>bold</b>", '"quoted" & more', "x" * 90)
N_IMAGES, N_LABELS, SIDE = 120, 60, 8


def make_page(n_classes=3, with_images=True):
    """Render the page of a pool of coloured images, of which the first are labelled in two rounds.

    The first label is wrong.
    """
    names = HOSTILE if n_classes == 3 else tuple(f"class {i:02d}" for i in range(n_classes))
    codes = np.arange(N_IMAGES) % n_classes
    draw = np.random.default_rng(0)
    rows = np.eye(n_classes)[codes] + 0.2 * draw.normal(size=(N_IMAGES, n_classes))
    images = draw.integers(0, 256, (N_IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    if not with_images:
        images = images[:, :0, :0]
    pool = Pool.unlabelled(images, tuple(f"<i>{i}</i>.png" for i in range(N_IMAGES)))
    given = codes[:N_LABELS].copy()
    given[0] = (given[0] + 1) % n_classes
    labelled = Labelled(
        indices=np.arange(N_LABELS),
        codes=given,
        classes=names,
        rounds=np.repeat([1, 2], [20, N_LABELS - 20]),
        is_random=np.arange(N_LABELS) % 2 == 0,
        test_images=images[:0],
        test_codes=given[:0],
    )
    embedded = Embedded.of(rows.astype(np.float32))
    fitted = fit_model(pool, embedded, labelled, HEAD, None, None, 0, "", "")
    guesses = Guesses.of(fitted.pool_logits, fitted.card.temperature)
    summary = summarise(embedded, labelled, fitted, "")
    return render_predictions(pool, labelled, fitted.held, guesses, summary), summary


@pytest.fixture(scope="module")
def page():
    return make_page()[0]


def test_the_page_holds_names_as_text_and_loads_nothing(page):
    parsed = Page(page)
    assert "<b>bold" not in page and "<i>" not in page
    assert page.count("&lt;b&gt;bold&lt;/b&gt;") > 5
    assert not any(key.startswith("on") for _, attrs in parsed.elements for key in attrs)
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert not re.search(r"url\(|@import|https?://", page)
    sources = [attrs["src"] for attrs in parsed.all("img")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_page_shows_each_class_and_the_wrong_label(page):
    # Six of the surest and six of the least sure of each class, and the doubtful label.
    assert page.count("<img") == 3 * 12 + 1
    assert page.count("labelled &lt;b&gt;bold") + page.count("labelled &#34;quoted") == 1
    assert "20 images" in page and "When to stop" in page


def test_many_classes_are_listed_by_what_is_confused():
    text, summary = make_page(n_classes=30)
    assert 'class="matrix"' not in text
    assert summary["labels"] == N_LABELS and "class 29: " in text


def test_a_pool_of_embeddings_has_no_pictures():
    text, _ = make_page(with_images=False)
    assert "<img" not in text and "&lt;i&gt;7" in text


def test_the_chart_spans_its_frame():
    _, summary = make_page()
    chart = RoundsChart(summary["rounds"])
    assert [point["labels"] for point in chart.points] == [20, 60]
    assert chart.points[-1]["x"] == chart.right
    for point in chart.points:
        assert chart.top <= point["high"] <= point["y"] <= point["low"] <= chart.bottom


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_is_usable_on_any_screen(browser, page, tmp_path, width, scheme):
    file = tmp_path / "predictions.html"
    file.write_text(page, encoding="utf-8")
    tab = Tab(screen(browser, width, scheme), file)
    tab.check()
    for name in HOSTILE:
        assert name in tab.text("#guesses")
    first = tab.page.locator("#guesses img").first.bounding_box()
    assert first["width"] > 60
