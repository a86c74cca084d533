"""Headless Chromium over its debugging pipe, by the standard library alone: sees, clicks and types."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_HANGS_S = 120  # for a browser that answers no more
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--remote-debugging-pipe", "--window-size=1280,900"),
)
_KEYS = {"Enter": ("\r", 13), "Escape": ("", 27)}


class Browser:
    """One page of one browser; `heard` keeps console errors, exceptions and what the policy refused."""

    def __init__(self, profile: Path) -> None:
        theirs, self._out = os.pipe()
        self._in, mine = os.pipe()
        start = f'exec chromium "$@" 3<&{theirs} 4>&{mine}'
        arguments = [*_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        command = ["bash", "-c", start, "chromium", *arguments]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs, mine), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs), os.close(mine)
        self._text, self._number, self._session, self._loaded = b"", 0, "", False
        self.heard: list[str] = []
        self.requested: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._hear(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._text:
            ready, _, _ = select.select([self._in], [], [], _HANGS_S)
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser ended"
            self._text += more
        one, self._text = self._text.split(b"\0", 1)
        return json.loads(one)

    def _hear(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.heard.append(json.dumps(given["exceptionDetails"])[:2500])
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning", "assert"):
                self.heard.append(json.dumps(given["args"])[:2500])
            case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                self.heard.append(json.dumps(given["entry"])[:2500])
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requested.append(given["request"]["url"])

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        found = self.send("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait in the page until an expression is true, and give its value."""
        look = f"let v; try {{ v = {expression} }} catch {{}} v ? done(v) : setTimeout(look, 5)"
        return self.run(f"new Promise((done) => {{ const look = () => {{ {look} }}; look(); }})")

    def open(self, address: str) -> None:
        """Load a page and wait until the view of its fragment is drawn."""
        self.load(address)
        self.shown(f"#{address.partition('#')[2]}" if "#" in address else "")

    def load(self, address: str) -> None:
        """Load a page; of the same page only another fragment may be asked for."""
        self._loaded = False
        if "loaderId" in self.send("Page.navigate", url=address):  # another document, not another fragment
            while not self._loaded:
                self._hear(self._read())

    def landed(self, fragment: str) -> None:
        """Wait, over however many pages, until a view of this fragment stands."""
        where = f"location.hash === {json.dumps(fragment)} && document.readyState === 'complete'"
        while True:
            with suppress(AssertionError):  # asked between two pages
                if self.run(where):
                    break
            time.sleep(0.02)
        self.shown(fragment)

    def shown(self, fragment: str) -> None:
        """Wait until the view of this fragment stands on the page."""
        self.until(f"document.getElementById('app').dataset.shown === {json.dumps(fragment)}")

    def click(self, selector: str) -> None:
        """Click the middle of the first element that fits, as a mouse does."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.until(f"{found} !== null")
        self.press(*self.middle(found))

    def middle(self, found: str) -> list[float]:
        """Where the middle of an element (an expression) lies in the window, into which it is brought."""
        self.run(f"{found}.scrollIntoView({{block: 'center'}})")
        box = f"{found}.getBoundingClientRect()"
        return self.run(f"((box) => [box.x + box.width / 2, box.y + box.height / 2])({box})")

    def press(self, x: float, y: float) -> None:
        """Click at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def type(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            text, code = _KEYS.get(key, (key, 0))
            given = {"key": key, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
            self.send("Input.dispatchKeyEvent", type="keyUp", **given)

    def picture(self, path: Path, width: int, height: int, **media: str) -> None:
        """A screenshot of the window in this size; `media` are features such as prefers_color_scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.run("new Promise((done) => setTimeout(done, 600))")  # pictures are looked at, not tested
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
