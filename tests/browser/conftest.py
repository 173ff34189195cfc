"""A headless Chromium, and a folder for its screenshots (build/screenshots)."""

import shutil
from pathlib import Path

import pytest
from repo import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
# It looks up hosts at every start otherwise, which a room without internet does not answer.
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="module")     # no longer: its event loop stands in the way of asyncio.run in other tests
def chromium():
    """Playwright's Chromium, or the system's; skips where there is neither."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install leaplm[dev]")
    system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as running:
        if not system and not Path(running.chromium.executable_path).exists():
            pytest.skip("no browser: apt install chromium, or playwright install chromium")
        browser = running.chromium.launch(executable_path=system, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of desktop width that keeps a screenshot when the test fails or not: page.shoot("name")."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.shoot = lambda name: page.screenshot(path=SCREENSHOTS / f"{name}.png")
    yield page
    page.shoot("last")
    page.close()
