"""A browser without a network, which leaves screenshots where they are asked for."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def photograph() -> Callable[..., None]:
    """Return the function that takes a screenshot if a folder is named for them.

    They take a third of the time of the tests.
    """
    folder = os.environ.get("ATTNLAG_SCREENSHOTS")

    def take(page: Page, name: str, **options: bool) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png", **options)

    return take


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of a browser without a network; nothing may go wrong or be asked for in it."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    opened = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda message: wrong.append(message.text) if message.type == "error" else 0
    )
    opened.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield opened
    context.close()
    assert not wrong
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
