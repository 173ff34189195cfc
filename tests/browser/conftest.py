"""A headless Chromium, and a folder for its screenshots (build/screenshots)."""

import contextlib
import shutil
import subprocess
import tarfile
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


def new_page(chromium):
    """A page of desktop width in a profile of its own; page.shoot("name") keeps a screenshot."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.shoot = lambda name: page.screenshot(path=SCREENSHOTS / f"{name}.png")
    return page


@pytest.fixture
def page(chromium):
    """The page of a test."""
    page = new_page(chromium)
    yield page
    page.close()


@pytest.fixture(scope="module")
def lasting_page(chromium):
    """A page for the tests of a file that open a document at a width of their own, and only look: a new one takes time."""
    page = new_page(chromium)
    yield page
    page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """The screenshot "last" shows the page of a test that failed."""
    report = yield
    page = next((item.funcargs[name] for name in ("page", "lasting_page") if name in item.funcargs), None)
    if page and report.when == "call" and report.failed:
        with contextlib.suppress(Exception):  # a page that has crashed has no picture
            page.shoot("last")
    return report


AXE = "axe-core@4.10.3"  # finds what keeps people out: contrast, keyboard, names; for tests alone, in no list of ours
LEVELS = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="session")
def axe_source(tmp_path_factory):
    """The script, from the package registry; kept in the user's cache."""
    kept = Path.home() / ".cache" / "leaplm-tests" / f"{AXE}.js"
    if not kept.is_file():
        folder = tmp_path_factory.mktemp("axe")
        npm = shutil.which("npm") or pytest.skip("no npm, which fetches axe-core")
        done = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip(f"axe-core could not be fetched: {done.stderr[-200:]}")
        with tarfile.open(next(folder.glob("*.tgz"))) as package:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(package.extractfile("package/axe.min.js").read())
    return kept.read_text(encoding="utf-8")


@pytest.fixture
def violations(axe_source):
    """What of WCAG 2.2 AA the page that is open does not keep: (rule, what is wrong, the first place)."""
    def look(page):
        page.evaluate(axe_source)
        options = {"runOnly": LEVELS, "resultTypes": ["violations"]}  # it need not describe every place that is right
        found = page.evaluate("options => axe.run(document, options)", options)["violations"]
        return [(each["id"], len(each["nodes"]), each["nodes"][0]["html"][:120]) for each in found]

    return look
