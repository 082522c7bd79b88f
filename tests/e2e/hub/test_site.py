"""The web site in headless Chromium: the story of a visitor, without and with JavaScript,
on phone and desktop, light and dark; axe looks at every page.

Screenshots go to ``$WHERRY_CACHE/hub-screenshots`` when that variable is set.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CACHE = Path(os.environ.get("WHERRY_CACHE", "/tmp/wherry-cache"))
pytestmark = pytest.mark.timeout(300)
DESKTOP, PHONE = (1280, 900), (390, 844)
PAGES = (
    "/", "/search?q=a", "/login", "/sign-up", "/r/brice/mysql", "/r/library/python/-/tags",
    "/r/library/python/-/image/latest", "/r/brice/mysql/-/compare?from=10.6&to=11.4", "/u/quayside",
    "/nope",
)  # fmt: skip
PAGES_OF_HARBOUR = (
    "/settings", "/new/repository", "/new/organisation", "/u/quayside/-/settings",
    "/r/library/python/-/settings", "/r/library/python", "/r/library/python/-/tags", "/admin",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a hub with the demo content."""
    data = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "import sys; from wherry.hub.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["--listen", f"127.0.0.1:{port}", "--data", str(data / "hub"), "--demo"]
    with open(data / "log", "wb") as log:
        hub = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=log)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=20):
                break
        except OSError:
            assert time.monotonic() < deadline, (data / "log").read_text()
            time.sleep(0.1)
    yield url
    hub.terminate()
    hub.wait(20)


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, from npm."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not any(CACHE.glob("axe-core-*.tgz")):
        _fetch_axe()
    with tarfile.open(max(CACHE.glob("axe-core-*.tgz"))) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def _fetch_axe() -> None:
    """Puts the package into the cache in one piece; a network that stumbles gets four chances."""
    npm = shutil.which("npm")
    assert npm, "npm is needed to fetch axe-core"
    retrying = ("--fetch-retries=3", "--fetch-retry-mintimeout=2000", "--fetch-timeout=30000")
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for last in (False, False, False, True):
            command = [npm, "pack", *retrying, "axe-core@4"]
            if subprocess.run(command, cwd=folder, check=last).returncode == 0:
                break
        for archive in Path(folder).glob("axe-core-*.tgz"):
            archive.rename(CACHE / archive.name)


@contextlib.contextmanager
def open_browser(*, scripts: bool = True) -> Iterator[webdriver.Chrome]:
    """A headless Chromium, whose temporary files go with it."""
    options = Options()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    if not scripts:
        options.add_experimental_option(
            "prefs", {"profile.managed_default_content_settings.javascript": 2}
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "TMPDIR": folder}
        service = Service(shutil.which("chromedriver"), env=environment)
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with open_browser() as driver:
        yield driver


def show(browser: webdriver.Chrome, size: tuple[int, int], theme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )


def fill(browser: webdriver.Chrome, **fields: str) -> None:
    for name, text in fields.items():
        field = browser.find_element(By.CSS_SELECTOR, f"main [name='{name}']:not([type=hidden])")
        field.clear()
        field.send_keys(text)


def leave_by(browser: webdriver.Chrome, element: WebElement) -> None:
    """Clicks and waits until the next page is there, whole.

    The loader's id names a document without touching its nodes: asking a node that is being
    replaced is answered with errors of many kinds.
    """
    before = _loader(browser)
    element.click()

    def arrived(browser: webdriver.Chrome) -> bool:
        state = "return document.readyState"
        return _loader(browser) != before and browser.execute_script(state) == "complete"

    wait = WebDriverWait(browser, 60, ignored_exceptions=(WebDriverException,))
    wait.until(arrived, f"no new page after {browser.current_url}")


def _loader(browser: webdriver.Chrome) -> str:
    tree = browser.execute_cdp_cmd("Page.getFrameTree", {})
    loader: str = tree["frameTree"]["frame"]["loaderId"]
    return loader


def press(browser: webdriver.Chrome, text: str) -> None:
    button = f"//main//button[normalize-space()='{text}']"
    leave_by(browser, browser.find_element(By.XPATH, button))


def follow(browser: webdriver.Chrome, text: str) -> None:
    leave_by(browser, browser.find_element(By.PARTIAL_LINK_TEXT, text))


def stars_of(browser: webdriver.Chrome) -> int:
    found = re.search(r"(\d+) star", browser.find_element(By.CSS_SELECTOR, ".repo-head").text)
    assert found is not None
    return int(found[1])


def log_in(browser: webdriver.Chrome, site: str, name: str) -> None:
    browser.delete_all_cookies()
    browser.get(f"{site}/login")
    fill(browser, name=name, password="wherry-demo")
    press(browser, "Log in")


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no-javascript"])
def test_a_visitor_signs_up_searches_reads_stars_and_comments(site: str, scripts: bool) -> None:
    with open_browser(scripts=scripts) as browser:
        browser.get(site)
        follow(browser, "Sign up")
        name = f"visitor{int(scripts)}"
        fill(browser, name=name, email="v@example.com", password="a long password")
        press(browser, "Sign up")
        assert name in browser.find_element(By.CSS_SELECTOR, "header").text
        fill(browser, q="mysql")
        press(browser, "Search")
        assert "1 repository" in browser.find_element(By.CSS_SELECTOR, "main").text
        follow(browser, "brice/mysql")
        readme = browser.find_element(By.CSS_SELECTOR, "article").text
        assert "speaks the MySQL protocol" in readme
        stars = stars_of(browser)
        press(browser, "Star")
        assert stars_of(browser) == stars + 1
        fill(browser, body="It **works**!")
        press(browser, "Comment")
        comments = browser.find_elements(By.CSS_SELECTOR, ".comment")
        assert comments[-1].find_element(By.TAG_NAME, "strong").text == name
        assert "It works!" in comments[-1].text
        comments[-1].find_element(By.TAG_NAME, "summary").click()
        edit = comments[-1].find_element(By.NAME, "body")
        edit.clear()
        edit.send_keys("Still works.")
        save = comments[-1].find_element(By.XPATH, ".//button[normalize-space()='Save']")
        leave_by(browser, save)
        last = browser.find_elements(By.CSS_SELECTOR, ".comment")[-1]
        assert "Still works." in last.text
        assert "edited" in last.text
        leave_by(browser, last.find_element(By.XPATH, ".//button[normalize-space()='Delete']"))
        assert "Still works." not in browser.find_element(By.TAG_NAME, "main").text
        follow(browser, "Tags")
        follow(browser, "11.4")
        steps = browser.find_element(By.CSS_SELECTOR, ".layers").text
        assert "RUN apt-get update && apt-get install -y mariadb-server=11.4*" in steps


def test_an_owner_makes_deletes_and_restores(site: str, browser: webdriver.Chrome) -> None:
    show(browser, DESKTOP, "light")
    log_in(browser, site, "ann")
    browser.get(f"{site}/new/repository")
    fill(browser, name="notes", description="My notes")
    press(browser, "Make repository")
    assert browser.current_url == f"{site}/r/ann/notes"
    browser.get(f"{site}/r/ann/static-site/-/tags")
    delete = browser.find_element(By.CSS_SELECTOR, "button[aria-label='Delete tag 1']")
    leave_by(browser, delete)
    assert not browser.find_elements(By.LINK_TEXT, "1")
    browser.get(f"{site}/r/ann/static-site/-/settings")
    restore = browser.find_element(By.CSS_SELECTOR, "button[aria-label='Restore tag 1']")
    leave_by(browser, restore)
    assert browser.find_elements(By.LINK_TEXT, "1")
    browser.get(f"{site}/settings")
    browser.find_element(By.ID, "token-name").send_keys("laptop")
    press(browser, "Make token")
    secret = browser.find_element(By.CSS_SELECTOR, ".secret code").text
    assert secret.startswith("whub_")
    browser.get(f"{site}/settings")
    assert secret not in browser.page_source


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_fit_and_axe_finds_nothing(
    site: str, browser: webdriver.Chrome, axe: str, size: tuple[int, int], theme: str
) -> None:
    show(browser, size, theme)
    browser.delete_all_cookies()
    problems = []
    for pages, name in ((PAGES, ""), (PAGES_OF_HARBOUR, "harbour")):
        if name:
            log_in(browser, site, name)
        for path in pages:
            browser.get(site + path)
            _keep_screenshot(browser, path, size, theme)
            width = browser.execute_script("return document.documentElement.scrollWidth")
            if width > size[0]:
                problems.append(f"{path}: {width} pixels wide")
            browser.execute_script(axe)
            found = browser.execute_async_script(
                "const done = arguments[0];"
                "axe.run().then(r => done(r.violations.map(v => [v.id, v.nodes.map("
                "n => n.html + ' ' + n.failureSummary)])))"
            )
            problems += [f"{path}: {violation}" for violation in found]
    assert not problems, "\n".join(problems)


def _keep_screenshot(
    browser: webdriver.Chrome, path: str, size: tuple[int, int], theme: str
) -> None:
    if "WHERRY_CACHE" in os.environ:
        folder = CACHE / "hub-screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in path).strip("-") or "home"
        device = "phone" if size == PHONE else "desktop"
        browser.save_screenshot(str(folder / f"{name}-{device}-{theme}.png"))
