"""A headless Chromium, driven as a person would: it opens, looks, clicks, and takes pictures."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Reports are shown in a frame of their own: it should be read like the page around it.
    "--disable-features=IsolateSandboxedIframes",
    "--disable-site-isolation-trials",
    "--remote-debugging-port=0",
)
PATIENCE = 90.0
# Where an element is that a person can see, and scrolls to.
PLACE = """(() => {{
  const all = [...document.querySelectorAll({selector})].filter(e => e.getClientRects().length
    && (!{text} || (e.innerText || '').trim() === {text} || e.title === {text}));
  if (!all.length) return null;
  all[0].scrollIntoView({{block: 'center'}});
  const box = all[0].getClientRects()[0];
  const place = [box.x + box.width / 2, box.y + box.height / 2];
  return all[0].contains(document.elementFromPoint(...place)) ? place : null;
}})()"""


class Page:
    """One tab."""

    def __init__(self, socket: Connection, port: int) -> None:
        """Take over a tab's connection, of a browser with this port."""
        self.socket, self.port, self.number, self.clicks = socket, port, 0, 0
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask DevTools and return its answer.

        Raises:
            RuntimeError: it says no.
        """
        self.number += 1
        question = {"id": self.number, "method": method, "params": params}
        self.socket.send(json.dumps(question))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def view(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Be a screen of this size, in light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def remember(self, values: Mapping[str, str]) -> None:
        """Keep what a page stores in a browser that has been there before."""
        known = json.dumps(dict(values))
        script = f"for (const [k, v] of Object.entries({known})) localStorage.setItem(k, v)"
        self.call("Page.addScriptToEvaluateOnNewDocument", source=f"try {{ {script} }} catch {{}}")

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        # The same page with another fragment would not be loaded anew.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of a script, awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def wait(self, condition: str, patience: float = PATIENCE) -> Any:
        """Wait until a script's value is true, and return it.

        Raises:
            TimeoutError: it never was.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):
                found = self.run(condition)
                if found:
                    return found
            time.sleep(0.2)
        raise TimeoutError(condition)

    def click(self, selector: str, text: str = "") -> None:
        """Click what a selector finds, the first one with this text; counted."""
        place = PLACE.format(selector=json.dumps(selector), text=json.dumps(text))
        x, y = self._settled(place)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.clicks += 1

    def _settled(self, place: str) -> tuple[float, float]:
        """Where an element is, once it no longer moves and nothing covers it."""
        before = None
        while True:
            found = self.wait(place)
            if found == before:
                return found[0], found[1]
            before = found
            time.sleep(0.7)

    def text(self) -> str:
        """Return all that stands on the page, frames included."""
        found = self.call("DOMSnapshot.captureSnapshot", computedStyles=[])
        return "\n".join(found["strings"])

    def wait_for_text(self, words: str, patience: float = PATIENCE) -> None:
        """Wait until words stand on the page or in a frame of it.

        Raises:
            TimeoutError: they never did.
        """
        end = time.monotonic() + patience
        while words not in self.text():
            if time.monotonic() > end:
                raise TimeoutError(words)
            time.sleep(0.3)

    @contextlib.contextmanager
    def new_tab(self) -> Iterator["Page"]:
        """Give the tab that a click opened, and close it with the block."""
        end = time.monotonic() + PATIENCE
        while len(tabs := _tabs(self.port)) < 2:
            if time.monotonic() > end:
                raise TimeoutError("no tab was opened")
            time.sleep(0.2)
        address = tabs[0]["webSocketDebuggerUrl"]
        with connect(address, max_size=None, compression=None) as socket:
            page = Page(socket, self.port)
            yield page
            page.call("Page.close")

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Give a tab of a fresh Chromium, which ends with the block.

    Raises:
        FileNotFoundError: no Chromium is installed.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise FileNotFoundError("chromium is not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [found, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile))
            (tab, *_) = _tabs(port)
            address = tab["webSocketDebuggerUrl"]
            with connect(address, max_size=None, compression=None) as socket:
                yield Page(socket, port)
        finally:
            process.terminate()
            process.wait(30)


def _port(profile: Path) -> int:
    """Where DevTools listens, once it does."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, IndexError):
            port = int(file.read_text(encoding="utf-8").split()[0])
            if _tabs(port):
                return port
        time.sleep(0.2)
    raise TimeoutError("Chromium opened no tab")


def _tabs(port: int) -> list[dict[str, str]]:
    """The open tabs, the newest first."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
        return [tab for tab in json.load(answer) if tab["type"] == "page"]
