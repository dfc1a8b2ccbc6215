"""A real browser for the pages: the system's Chromium, driven by playwright."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None,
    reason="no page is tried in a browser: that takes Chromium, and playwright for Python",
)
# What each page must do with: a desk, and a phone.
SCREENS = [(1200, "light"), (1200, "dark"), (400, "light"), (400, "dark")]


OPTIONS = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(**OPTIONS)
        yield opened
        opened.close()


def screen(browser, width: int, scheme: str):
    """Open a context of a screen's width, in light or dark; narrow ones are touched."""
    narrow = width < 720
    return browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        has_touch=narrow,
        is_mobile=narrow,
    )


class Tab:
    """A page that is open, with all that it complained of or asked the network for."""

    def __init__(self, context, file: Path) -> None:
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note)
        self.page.goto(file.as_uri())

    def _note(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.complaints.append(request.url)

    def press(self, *keys: str) -> None:
        """Press one key after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def wait_for(self, selector: str, text: str) -> None:
        """Return once an element holds the text."""
        self.page.locator(selector, has_text=text).wait_for()

    def text(self, selector: str) -> str:
        """Return what a reader sees of an element."""
        return self.page.inner_text(selector)

    def download(self, selector: str, folder: Path) -> Path:
        """Click what starts a download; return the file."""
        with self.page.expect_download() as started:
            self.page.click(selector)
        file = folder / started.value.suggested_filename
        started.value.save_as(file)
        return file

    def check(self) -> None:
        """Nothing was complained of or asked for, no image is broken, and the page fits."""
        assert self.complaints == []
        assert self.page.evaluate(
            "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
        )
        assert self.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
