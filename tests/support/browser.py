"""Debian's Chromium without a screen, driven by real clicks, keys and touches."""

import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra test: selenium")

from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402

Found = TypeVar("Found")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "needs Debian's packages chromium and chromium-driver"

TAB = "\ue004"

PATIENCE_S = 60.0
"""On a machine that does other things as well."""


class Browser:
    """One window.

    Parameters
    ----------
    driver : webdriver.Chrome
    downloads : Path
        What the page saves goes here.
    """

    def __init__(self, driver: Any, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )

    def open(self, page: Path, view: str = "") -> None:
        """Open a page from the disk and wait until it has drawn itself."""
        self.driver.get(page.as_uri() + (f"#{view}" if view else ""))
        self.until(lambda: self.js("return document.querySelector('main h2') !== null"))

    def reload(self) -> None:
        self.driver.refresh()
        self.until(lambda: self.js("return document.querySelector('main h2') !== null"))

    def js(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def until(self, look: Callable[[], Found | None]) -> Found:
        """What a look gives as soon as it is true."""
        end = time.monotonic() + PATIENCE_S
        while True:
            with suppress(StaleElementReferenceException):  # drawn anew while we looked
                if found := look():
                    return found
            assert time.monotonic() < end, f"not within {PATIENCE_S} s"
            time.sleep(0.05)

    def find(self, css: str) -> WebElement:
        """The one that is seen."""
        return self.until(lambda: next(
            (one for one in self.driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()),
            None,
        ))  # fmt: skip

    def texts(self, css: str) -> list[str]:
        return [one.text for one in self.driver.find_elements(By.CSS_SELECTOR, css)]

    def click(self, css: str) -> None:
        """With the mouse, where it is."""
        one = self.find(css)
        self.js("arguments[0].scrollIntoView({block: 'center'})", one)
        one.click()

    def click_text(self, css: str, text: str) -> None:
        """The one that begins with a text."""
        one = self.until(lambda: next(
            (one for one in self.driver.find_elements(By.CSS_SELECTOR, css)
             if one.is_displayed() and one.text.startswith(text)), None,
        ))  # fmt: skip
        self.js("arguments[0].scrollIntoView({block: 'center'})", one)
        one.click()

    def press(self, *keys: str) -> None:
        """On the keyboard, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def tab_to(self, text: str) -> None:
        """Press Tab until what has the focus says so."""
        for _ in range(80):
            if text in self.focus():
                return
            self.press(TAB)
        pytest.fail(f"Tab does not come to {text!r}; the focus is on {self.focus()!r}")

    def choose(self, css: str, text: str) -> None:
        """In a select, as a person who types the first letters of an option."""
        select = self.find(css)
        option = next(
            one for one in select.find_elements(By.TAG_NAME, "option") if one.text.startswith(text)
        )
        option.click()

    def focus(self) -> str:
        """What has the focus, in words: tag, id, text."""
        found: str = self.js(
            "const e = document.activeElement; return [e.tagName.toLowerCase(), e.id,"
            " e.textContent.slice(0, 40)].join(' ')"
        )
        return found

    def downloaded(self) -> Path:
        """The one file that was saved, whole."""

        def look() -> Path | None:
            found = [one for one in self.downloads.iterdir() if one.suffix == ".json"]
            return found[0] if found else None

        return self.until(look)

    def asked(self) -> list[str]:
        """Addresses of all requests since the last time, but for those that the policy stopped."""
        log = self.driver.get_log("performance")
        events = [json.loads(one["message"])["message"] for one in log]
        stopped = {
            one["params"]["requestId"]
            for one in events
            if one["params"].get("blockedReason") == "csp"
        }
        return [
            one["params"]["request"]["url"]
            for one in events
            if one["method"] == "Network.requestWillBeSent"
            and one["params"]["requestId"] not in stopped
        ]

    def complaints(self) -> list[str]:
        """What the console said: errors, and what the policy of the page refused."""
        return [one["message"] for one in self.driver.get_log("browser")]

    def width(self) -> tuple[int, int]:
        """Of the page, and of the window."""
        wide, window = self.js("return [document.documentElement.scrollWidth, innerWidth]")
        return wide, window

    def cpu_s(self) -> float:
        """Of the page's process so far: scripts, layout and all."""
        metrics = self.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "ProcessTime"))

    def picture(self, path: Path) -> None:
        """The whole page as PNG, for people."""
        height, width = self.js("return [document.documentElement.scrollHeight, innerWidth]")
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": width, "height": min(height, 3000), "scale": 1},
        })  # fmt: skip
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(
    downloads: Path, width: int = 1280, height: int = 900, *, phone: bool = False,
    dark: bool = False,
) -> Iterator[Browser]:  # fmt: skip
    """A window of that size; a phone has a touch screen."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--mute-audio", "--disable-background-networking", "--no-first-run",
        f"--window-size={width},{height}",
    ):  # fmt: skip
        options.add_argument(argument)
    if phone:
        metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "timeTicks"})
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield Browser(driver, downloads)
    finally:
        driver.quit()
