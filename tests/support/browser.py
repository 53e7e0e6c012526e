"""Drives a real Chromium by the W3C WebDriver protocol, which chromedriver speaks over plain HTTP."""

import base64
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

INSTALL = "install them, on Debian with scripts/ci-services.sh"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE_S = 60.0


class Browser:
    """One window of a browser with a profile of its own."""

    def __init__(self, driver: httpx.Client, chromium: str) -> None:
        self._driver = driver
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]
        options = {"binary": chromium, "args": [*arguments, "--window-size=1100,830", "--force-device-scale-factor=1"]}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self._session = f"/session/{self._ask('POST', '/session', capabilities=capabilities)['sessionId']}"

    def open(self, url: str) -> None:
        self._do("POST", "/url", url=url)

    @property
    def url(self) -> str:
        return str(self._do("GET", "/url"))

    @property
    def text(self) -> str:
        return str(self._run("return document.body ? document.body.innerText : ''"))

    def click(self, css: str) -> None:
        """Click what the selector finds, as soon as it is there."""
        found = self._wait(lambda: self._do("POST", "/elements", using="css selector", value=css), f"{css} on the page")
        self._do("POST", f"/element/{found[0][ELEMENT]}/click")

    def click_text(self, text: str) -> None:
        """Click the button or link with this text, as soon as it is there."""
        xpath = f"//*[self::button or self::a][normalize-space()='{text}']"
        found = self._wait(lambda: self._do("POST", "/elements", using="xpath", value=xpath), f"{text} on the page")
        self._do("POST", f"/element/{found[0][ELEMENT]}/click")

    def wait_for(self, text: str) -> str:
        """Wait until a text is on the page, and return all of its text."""
        return str(self._wait(lambda: text in self.text and self.text, f"{text!r} on the page"))

    def wait_for_address(self, start: str) -> str:
        return str(self._wait(lambda: self.url.startswith(start) and self.url, f"the address {start}"))

    def use_newest_tab(self) -> None:
        handles = self._do("GET", "/window/handles")
        self._do("POST", "/window", handle=handles[-1])

    def set_cookie(self, name: str, value: str) -> None:
        self._do("POST", "/cookie", cookie={"name": name, "value": value, "path": "/", "sameSite": "Lax"})

    def run(self, script: str) -> Any:
        return self._run(script)

    def prefer(self, scheme: str) -> None:
        """Let the browser say that the user prefers the colours of ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._do("POST", "/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features})

    def screenshot(self, path: Path, scheme: str) -> None:
        """Take a picture of the page in the colours of ``light`` or ``dark``."""
        self.prefer(scheme)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def quit(self) -> None:
        self._do("DELETE", "")

    def _run(self, script: str) -> Any:
        return self._do("POST", "/execute/sync", script=script, args=[])

    def _do(self, method: str, path: str, **body: Any) -> Any:
        return self._ask(method, f"{self._session}{path}", **body)

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self._driver.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value["message"]
        return value

    def _wait(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.1)
        raise AssertionError(f"Waited for {what}, at {self.url}:\n{self.text}")


@contextmanager
def chromedriver() -> Iterator[Callable[[], Browser]]:
    """Start chromedriver and hand out what opens a browser; the browsers end with the block.

    Without a browser on this machine the tests that want one are skipped, but in CI they fail.
    """
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain(f"no chromium and chromedriver found: {INSTALL}")
    port = free_port()
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    browsers: list[Browser] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as http:

        def launch() -> Browser:
            browsers.append(Browser(http, chromium))
            return browsers[-1]

        try:
            _wait_until_ready(http)
            yield launch
        finally:
            for browser in browsers:
                browser.quit()
            process.terminate()
            process.wait(timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(http: httpx.Client) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if http.get("/status").json()["value"]["ready"]:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("chromedriver did not start")
