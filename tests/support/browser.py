"""A headless Chromium, driven over its DevTools pipe with nothing but Python.

What a test needs of a browser package is little: load a file, evaluate expressions,
press keys, click, take a picture, hear what the console says.  The protocol is JSON
ended by a zero byte over two pipes.

Reference: chromedevtools.github.io/devtools-protocol, --remote-debugging-pipe.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "Browser", "program"]

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chrome-headless-shell",
)

MISSING = (
    "no browser here: THE EXPLORER WAS NOT TRIED IN ONE. Install chromium (Debian: "
    "apt-get install chromium), or set DAGRAD_BROWSER to the program of a Chromium"
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

_KEYS = {"Enter": 13, "Escape": 27, "Backspace": 8, " ": 32}
_KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
_KEYS |= {"Home": 36, "End": 35, "Tab": 9}


def program() -> str | None:
    """The path of a Chromium, None where there is none."""
    given = os.environ.get("DAGRAD_BROWSER")
    if given:
        return given
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return found
    return None


class Browser:
    """One browser with one page; a context manager.

    Args:
        folder: an empty folder for its profile.
        width, height: of the page, in pixels.

    Attributes:
        messages: what the console said, and exceptions, as ``(level, text)``.
        requests: the addresses that the page loaded.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 800) -> None:
        self.messages: list[tuple[str, str]] = []
        self.requests: list[str] = []
        self._loaded = False
        self._number = 0
        self._held = b""
        self._answers: dict[int, dict[str, Any]] = {}
        found = program()
        assert found is not None, MISSING
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = [
            found,
            *_FLAGS,
            f"--user-data-dir={folder}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}

        def place() -> None:
            # The browser reads from descriptor 3 and writes to 4; either may be in
            # use here, so both move out of the way first.
            os.dup2(to_read, 103)
            os.dup2(to_write, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)
            os.closerange(5, 256)

        self._process = subprocess.Popen(
            command,
            preexec_fn=place,
            close_fds=False,
            env=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t for t in targets if t["type"] == "page")
        attached = self.call(
            "Target.attachToTarget", targetId=page["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and all that it started."""
        for fd in (self._write, self._read):
            os.close(fd)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    # -- the protocol ----------------------------------------------------------

    def call(self, method: str, timeout: float = 60.0, **params: Any) -> dict[str, Any]:
        """One command, and its result."""
        self._number += 1
        message: dict[str, Any] = {
            "id": self._number,
            "method": method,
            "params": params,
        }
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        until = time.monotonic() + timeout
        while self._number not in self._answers:
            self._listen(until - time.monotonic(), method)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _listen(self, seconds: float, what: str) -> None:
        ready, _, _ = select.select([self._read], [], [], max(0.0, seconds))
        if not ready:
            raise TimeoutError(f"the browser did not answer {what}")
        data = os.read(self._read, 1 << 20)
        if not data:
            raise RuntimeError("the browser ended")
        *whole, self._held = (self._held + data).split(b"\0")
        for piece in whole:
            message = json.loads(piece)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            said = [str(a.get("value", a.get("description"))) for a in params["args"]]
            self.messages.append((params["type"], " ".join(said)))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            thrown = details.get("exception", {}).get("description")
            self.messages.append(("error", thrown or details["text"]))
        elif method == "Log.entryAdded":
            entry = params["entry"]
            self.messages.append((entry["level"], entry["text"]))
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    # -- what tests do ---------------------------------------------------------

    @property
    def errors(self) -> list[str]:
        """Errors and warnings that the console or the page has shown."""
        self.evaluate("0")
        return [text for level, text in self.messages if level in ("error", "warning")]

    def resize(self, width: int, height: int) -> None:
        """The size of the page in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, path: Path) -> None:
        """Load a file; the page says itself when it is ready."""
        self._loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + 60.0
        while not self._loaded:
            self._listen(until - time.monotonic(), "Page.navigate")
        self.wait("document.documentElement.dataset.ready === 'true'")

    def evaluate(self, expression: str, timeout: float = 60.0) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        done = self.call(
            "Runtime.evaluate",
            timeout,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", details["text"])
            raise RuntimeError(thrown)
        return done["result"].get("value")

    def wait(self, expression: str, seconds: float = 60.0) -> None:
        """Until an expression is true."""
        until = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            if time.monotonic() > until:
                raise TimeoutError(f"{expression} stayed false; {self.messages}")
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Keys by name, as ``"Enter"`` or ``"e"``."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            event: dict[str, Any] = {"key": key, "text": text}
            if key in _KEYS:
                event["windowsVirtualKeyCode"] = _KEYS[key]
            kind = "keyDown" if text else "rawKeyDown"
            self.call("Input.dispatchKeyEvent", type=kind, **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float, clicks: int = 0) -> None:
        """One event of the left button at a place."""
        pressed = kind != "mouseReleased" and clicks > 0
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left" if clicks else "none",
            buttons=int(pressed),
            clickCount=clicks,
        )

    def click(self, x: float, y: float, times: int = 1) -> None:
        """Click a place, or double-click it."""
        self.mouse("mouseMoved", x, y)
        for n in range(1, times + 1):
            self.mouse("mousePressed", x, y, n)
            self.mouse("mouseReleased", x, y, n)

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])
