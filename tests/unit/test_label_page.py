"""label.html as it is written, and as a browser runs it."""

import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from browser import OPTIONS, SCREENS, Tab, needs_browser, screen
from unit.test_exports import NAMES, make_picks
from unit.test_gallery import Page
from zeroshot_al.base.errors import InputError
from zeroshot_al.gallery.guesses import Guess
from zeroshot_al.gallery.label_page import batch_hash, look_alike_points, split, write_label_pages
from zeroshot_al.labels.label_files import read_answers
from zeroshot_al.labels.label_join import IdFinder, join_labels
from zeroshot_al.sources.left_out import LeftOut

HOSTILE_CLASSES = ["a, b", 'the "best"', "=1+1", "'quoted", "<b>bold</b>", "ünï 日本", "-", "x;y"]
N_KINDS = 3  # of look-alikes: the picks of one kind are every third


def write_pages(folder, picks=None, classes=(), guessed=False, size_px=16, **options):
    """Write the pages of picks of three kinds; return their paths."""
    picks = make_picks() if picks is None else picks
    if guessed:
        picks = [
            dataclasses.replace(pick, guess=Guess(f"kind {pick.rank % N_KINDS}", 0.9))
            for pick in picks
        ]
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (len(picks), size_px, size_px, 3), dtype=np.uint8)
    kinds = np.eye(N_KINDS, 8)[np.arange(len(picks)) % N_KINDS]
    rows = (kinds + 0.05 * draw.normal(size=kinds.shape)).astype(np.float32)
    names = write_label_pages(folder, picks, images, rows, classes, 1, **options)
    return [folder / name for name in names]


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1]
    )


def read_labels(path, names=NAMES):
    """Read a file of labels as stage `labels` does; return label by id."""
    labels, problems = join_labels(
        read_answers(str(path)), IdFinder(names, LeftOut([], [], []), None), ()
    )
    assert problems == []
    return labels


def test_the_page_holds_names_as_text_and_allows_its_script_alone(tmp_path):
    (path,) = write_pages(tmp_path, classes=["</script><script>alert(1)</script>", "=b"])
    text = path.read_text(encoding="utf-8")
    parsed = Page(text)
    data = data_of(path)
    assert path.name == "label.html"
    assert [pick["id"] for pick in data["picks"]] == NAMES
    assert data["classes"] == ["</script><script>alert(1)</script>", "=b"]
    assert data["batch"] == batch_hash(NAMES)
    assert [tag.get("type") for tag in parsed.all("script")] == ["application/json", None]
    assert not any(key.startswith("on") for _, attrs in parsed.elements for key in attrs)
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "with all your other files of labels" not in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_a_batch_has_a_hash_of_its_ids_in_order():
    assert batch_hash(["a", "b"]) == batch_hash(("a", "b"))
    assert len({batch_hash(ids) for ids in (["a", "b"], ["b", "a"], ["ab"], ["a"])}) == 4


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [([3, 3, 3], [(0, 2), (2, 3)]), ([1], [(0, 1)]), ([9, 1, 9], [(0, 1), (1, 2), (2, 3)])],
)
def test_runs_stay_below_the_limit_if_they_can(sizes, runs):
    assert [(part.start, part.stop) for part in split(sizes, 6)] == runs


def test_a_page_that_is_too_large_is_split_and_says_so(tmp_path):
    limit = 80_000
    paths = write_pages(tmp_path, size_px=64, max_bytes=limit)
    assert [path.name for path in paths] == [f"label_{n + 1}.html" for n in range(len(paths))]
    parts = [data_of(path) for path in paths]
    assert [pick["id"] for part in parts for pick in part["picks"]] == NAMES
    assert len({part["batch"] for part in parts}) == len(paths) > 1
    assert parts[1]["file"] == "labels_1_part_2.csv"
    without_data = len(paths[0].read_text(encoding="utf-8")) - len(json.dumps(parts[0]))
    assert all(path.stat().st_size < limit + 2 * without_data for path in paths)
    text = paths[1].read_text(encoding="utf-8")
    assert f"part 2 of {len(paths)}, images {len(parts[0]['picks']) + 1} to" in text
    assert (
        "make train LABELS=/path/to/labels_1_part_2.csv</code>, with all your other files" in text
    )
    links = [attrs["href"] for attrs in Page(text).all("a")]
    assert links == [path.name for path in paths if path != paths[1]]


def test_files_are_shown_whole_upright_and_large_enough(tmp_path):
    side = Image.new("RGB", (1200, 600), "red")
    exif = side.getexif()
    exif[0x0112] = 6  # shown turned by a quarter
    side.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("I;16", (30, 20)).save(tmp_path / "small.png")
    picks = [
        dataclasses.replace(pick, path=str(tmp_path / pick.name))
        for pick in make_picks(["turned.jpg", "small.png"])
    ]
    rows = np.eye(2, dtype=np.float32)
    write_label_pages(tmp_path, picks, None, rows, [], 1)
    sizes = {}
    for pick in data_of(tmp_path / "label.html")["picks"]:
        kind, code = pick["image"].split(",")
        (tmp_path / "image").write_bytes(base64.b64decode(code))
        with Image.open(tmp_path / "image") as image:
            sizes[kind] = image.size
    assert sizes == {"data:image/jpeg;base64": (128, 256), "data:image/png;base64": (30, 20)}
    (tmp_path / "small.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"small\.png cannot be read .*; restore it"):
        write_label_pages(tmp_path, picks, None, rows, [], 1)


@pytest.mark.parametrize("shape", [(1, 4), (2, 1), (50, 40)])
def test_look_alikes_stay_alike_in_few_bytes(shape):
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    points = look_alike_points(rows).astype(int)
    assert points.shape == (shape[0], min(32, *shape))
    assert (points == look_alike_points(rows)).all()
    true = np.linalg.norm(rows[0] - rows, axis=1)
    found = np.linalg.norm(points[0] - points, axis=1)
    if len(rows) > 2:
        assert np.corrcoef(true, found)[0, 1] > 0.9


@pytest.fixture
def context(browser):
    opened = browser.new_context()
    yield opened
    opened.close()


@needs_browser
def test_a_batch_is_labelled_by_keys_survives_reload_and_crash_and_is_read_back(context, tmp_path):
    (path,) = write_pages(tmp_path)
    tab = Tab(context, path)
    for name in HOSTILE_CLASSES:  # each goes to the image that is shown
        tab.page.fill("#name", name)
        tab.press("Enter")
    expected = dict(zip(NAMES, HOSTILE_CLASSES, strict=False))
    tab.press("3", "ArrowRight", "?", "1")  # the tenth is skipped, the eleventh not sure
    expected |= {NAMES[8]: HOSTILE_CLASSES[2], NAMES[11]: HOSTILE_CLASSES[0]}
    tab.press("ArrowLeft", "2", "ArrowLeft", "ArrowLeft", "Delete", "5")
    expected |= {NAMES[11]: HOSTILE_CLASSES[1], NAMES[10]: HOSTILE_CLASSES[4]}
    tab.page.fill("#name", "  A,   B ")  # blanks and case make no other class
    tab.press("Enter")
    expected[NAMES[11]] = HOSTILE_CLASSES[0]
    progress = f"{len(expected)} of {len(NAMES)} labelled"
    assert tab.text("#progress-text") == progress
    tab.page.reload()
    assert tab.text("#progress-text") == progress
    tab.check()
    with tab.page.expect_event("crash"), pytest.raises(Exception, match="ERR_ABORTED"):
        tab.page.goto("chrome://crash")
    tab = Tab(context, path)
    assert tab.text("#progress-text") == progress
    assert NAMES[9] in tab.page.get_attribute("#stage img", "alt")
    rows = [row.split("\n") for row in tab.page.locator("#classes li").all_inner_texts()]
    assert [row[1] for row in rows] == HOSTILE_CLASSES
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5", "6", "7", "8"]
    file = tab.download("#download", tmp_path)
    assert file.name == "labels_1.csv"
    assert file.read_bytes().startswith(b"\xef\xbb\xbfid,label\r\n")
    assert read_labels(file) == expected
    tab.check()


@needs_browser
def test_every_image_loads_and_all_can_be_labelled(context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["5", "cat"], size_px=80)
    tab = Tab(context, path)
    for _ in NAMES:
        tab.check()
        tab.press("5")  # the class of that name, not the fifth
    assert tab.text("#stage") == "Every image has an answer."
    assert read_labels(tab.download("#download", tmp_path)) == dict.fromkeys(NAMES, "5")


@needs_browser
def test_look_alikes_are_marked_together(context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["one", "two"])
    tab = Tab(context, path)
    kinds = [int(NAMES.index(alt)) % N_KINDS for alt in shown(tab, "#strip")]
    assert kinds == [0] * 8
    tab.press(".")
    first = shown(tab)
    assert first[0] == NAMES[0]
    assert len(first) == 12
    assert [NAMES.index(name) % N_KINDS for name in first[:11]] == [0] * 11
    tab.page.locator("#stage button").last.click()  # the twelfth does not belong
    tab.press("1")
    assert tab.text("#progress-text").startswith("11 of")
    tab.press("2")  # what is left of the view is marked then
    assert tab.text("#progress-text").startswith("12 of")
    tab.press("ArrowLeft", ",", ",", "1")  # nothing of the labelled view is marked: no change
    assert tab.text("#status") == "Mark an image first."
    tab.page.locator("#stage button").nth(1).focus()
    tab.press(" ", "2")
    labels = read_labels(tab.download("#download", tmp_path))
    assert labels == {**dict.fromkeys(first[:11], "one"), first[1]: "two", first[11]: "two"}
    tab.check()


def shown(tab, where="#stage"):
    return [image.get_attribute("alt") for image in tab.page.locator(f"{where} img").all()]


@needs_browser
def test_the_parts_of_a_batch_share_the_classes_that_were_typed(context, tmp_path):
    first, second, *_ = write_pages(tmp_path, size_px=64, max_bytes=80_000)
    tab = Tab(context, first)
    for name in ("cat", "dog"):
        tab.page.fill("#name", name)
        tab.press("Enter")
    tab.page.click("header a")
    assert tab.page.url == second.as_uri()
    tab.wait_for("#classes", "dog")
    tab.press("2")
    part = data_of(second)
    file = tab.download("#download", tmp_path)
    assert file.name == part["file"]
    assert read_labels(file) == {part["picks"][0]["id"]: "dog"}
    tab.check()


@needs_browser
def test_guesses_are_shown_and_confirmed(context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["kind 0", "kind 1", "kind 2"], guessed=True)
    tab = Tab(context, path)
    assert "Guess: kind 0 (90%)" in tab.text("#stage")
    tab.press("Enter")
    tab.page.select_option("#sort", "guess")
    tab.press(".")
    first = shown(tab)
    assert {NAMES.index(name) % N_KINDS for name in first} == {0}
    tab.page.locator("#stage button").first.click()
    tab.press("Enter")
    labels = read_labels(tab.download("#download", tmp_path))
    assert labels == dict.fromkeys([NAMES[0], *first[1:]], "kind 0")
    tab.check()


@needs_browser
def test_classes_are_renamed_joined_and_looked_through(context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["cat", "catt", "dog"])
    tab = Tab(context, path)
    tab.press("1", "2", "3", "2")
    tab.page.on("dialog", lambda dialog: dialog.accept("cat"))
    tab.page.click("[aria-label='Rename catt']")
    labels = read_labels(tab.download("#download", tmp_path))
    assert list(labels.values()) == ["cat", "cat", "dog", "cat"]
    tab.page.select_option("#show", "=cat")
    tab.press(".")
    assert set(shown(tab)) == {NAMES[0], NAMES[1], NAMES[3]}
    tab.check()


@needs_browser
def test_json_continues_the_work_elsewhere(browser, context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["cat", "dog"])
    tab = Tab(context, path)
    tab.press("1", "2", "?")
    file = tab.download("#save", tmp_path)
    assert file.name == "labels_1.json"
    other = browser.new_context()
    tab = Tab(other, path)
    tab.press("2")
    tab.page.set_input_files("#load", file)
    tab.wait_for("#status", "2 labels added. 1 differ from yours, which stay.")
    assert tab.text("#progress-text") == f"2 of {len(NAMES)} labelled, 1 not sure"
    assert list(read_labels(tab.download("#download", tmp_path)).values()) == ["dog", "dog"]
    bad = tmp_path / "bad.json"
    bad.write_text('{"labels": {"x": 1}}', encoding="utf-8")
    tab.page.set_input_files("#load", bad)
    tab.wait_for("#status", "bad.json holds no labels")
    tab.check()
    other.close()


@needs_browser
def test_two_tabs_and_a_batch_of_another_length_lose_nothing(context, tmp_path):
    (path,) = write_pages(tmp_path, classes=["cat", "dog"])
    first, second = Tab(context, path), Tab(context, path)
    first.press("1")
    second.wait_for("#progress-text", "1 of")
    second.press("2")
    first.wait_for("#progress-text", "2 of")
    longer = [*make_picks(), *make_picks(["one more.png"])]
    (path,) = write_pages(tmp_path, picks=longer)
    tab = Tab(context, path)
    assert "labels of 2 of these images from another batch" in tab.text("p.alert:visible")
    tab.page.click("text=Take them")
    assert tab.text("#progress-text") == f"2 of {len(longer)} labelled"
    labels = read_labels(tab.download("#download", tmp_path))
    assert labels == {NAMES[0]: "cat", NAMES[1]: "dog"}
    tab.check()


@needs_browser
@pytest.mark.parametrize("storage", ["full", "switched off"])
def test_the_page_says_before_a_label_is_lost_that_nothing_is_kept(browser, tmp_path, storage):
    (path,) = write_pages(tmp_path, classes=["cat"])
    profile = tmp_path / "profile"
    if storage == "switched off":
        settings = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        (profile / "Default").mkdir(parents=True)
        (profile / "Default/Preferences").write_text(json.dumps(settings), encoding="utf-8")
    with browser.browser_type.launch_persistent_context(profile, **OPTIONS) as context:
        tab = Tab(context, path)
        if storage == "full":
            tab.page.evaluate(
                "for (let n = 2 ** 22; n >= 1; n /= 2) for (let i = 0; ; i++)"
                "try { localStorage.setItem(n + '-' + i, 'x'.repeat(n)); } catch { break; }"
            )
            tab.press("1")
        assert tab.page.is_visible("#alert")
        assert "Download labels_1.csv before" in tab.text("#alert")
        tab.press("1")
        n_given = 2 if storage == "full" else 1
        asked = []
        tab.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        tab.page.close(run_before_unload=True)
        tab.page.wait_for_timeout(300)
        assert asked == ["beforeunload"]
        assert len(read_labels(tab.download("#download", tmp_path))) == n_given


@needs_browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_is_usable_on_any_screen(browser, tmp_path, width, scheme):
    (path,) = write_pages(tmp_path, classes=["cat", "x" * 90], guessed=True)
    context = screen(browser, width, scheme)
    tab = Tab(context, path)
    press = tab.page.tap if width == 400 else tab.page.click
    for target in ("#classes button", ".confirm", "#unsure", "#back", "#skip", "#grid"):
        box = tab.page.locator(target).first.bounding_box()
        assert min(box["width"], box["height"]) >= 36
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        press(f"{target} >> nth=0")
    assert tab.text("#progress-text") == f"2 of {len(NAMES)} labelled, 1 not sure"
    image = tab.page.locator("#stage img").first.bounding_box()
    assert image["y"] < 400
    assert image["width"] > 80
    tab.check()
    red, green, blue = map(
        int,
        re.findall(r"\d+", tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))[
            :3
        ],
    )
    assert (red + green + blue > 384) == (scheme == "light")
    context.close()
