"""The page of `diarize --html` in a browser: it plays, follows, seeks, hovers, zooms and can be worked from the keyboard.

Needs playwright (pip install playwright) and a Chromium of the system; without them it is skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emoser.formats.html import write_page
from emoser.results import Diarization, Frames, Segment, Transcript, Word

LABELS = ("happy", "sad")
SECONDS = 400.0  # long enough that the page begins with a part of it


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, wav: Any, tmp_path: Path) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    path = wav("talk.wav", rng.uniform(-0.5, 0.5, round(SECONDS * 16_000)).astype(np.float32))
    count = round(SECONDS / 0.04)
    scores = np.repeat(np.float32([[0.75, 0.25], [0.2, 0.8]]), count // 2, axis=0)
    segments = []
    for number in range(round(SECONDS / 4)):
        happy = 0.75 if number < SECONDS / 8 else 0.2
        label = "happy" if happy > 0.5 else "sad"
        segments.append(Segment(4.0 * number, 4.0 * number + 1, "silence", 0.9, {"happy": 0.5, "sad": 0.5}))
        spoken = {"happy": happy, "sad": 1 - happy}
        segments.append(Segment(4.0 * number + 1, 4.0 * number + 4, label, spoken[label], spoken, "anna", ("low_confidence",)))
    words = Transcript("one two", (Word("one <i>", 1.0, 2.0, "happy"), Word("two", 301.0, 302.0, "sad")))
    frames = Frames(0.04, LABELS, scores, np.ones(count, np.float32))
    result = Diarization(tuple(segments), frames, SECONDS, words, "calls/<talk>.wav", warnings=("low_confidence",))
    write_page(tmp_path / "page.html", result, str(path))
    opened = browser.new_page(viewport={"width": 1000, "height": 900})
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "blob:", "data:")) else None)
    opened.goto((tmp_path / "page.html").as_uri())
    until(opened, "player.readyState >= 2")
    yield opened
    opened.close()
    assert wrong == []


def until(page: Any, condition: str) -> None:
    """Playwright's own wait_for_function evaluates text in the page, which its policy forbids."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"not in a minute: {condition}")


def time(page: Any) -> float:
    return float(page.evaluate("player.currentTime"))


def test_the_page(page: Any) -> None:
    assert page.inner_text("h1") == "calls/<talk>.wav"
    assert page.evaluate("player.duration") == pytest.approx(SECONDS, abs=0.2)
    assert page.locator("#list li").count() == 100
    assert page.inner_text("#list li:first-child").split("\n")[1:] == ["h", "happy?", "0.75", "anna"]

    middle = {"x": page.evaluate("view.clientWidth / 2"), "y": 100}  # of the first minute
    page.hover("#view", position=middle)
    tip = page.inner_text("#tip").split()
    assert tip.pop(0) in ("0:29.9", "0:30.0", "0:30.1")
    assert tip == ["happy?,", "anna", "happy", "0.75", "sad", "0.25", "speech", "1.00"]

    page.click("#view", position=middle)
    assert time(page) == pytest.approx(30.0, abs=0.5)
    page.focus("#view")
    page.keyboard.press(" ")
    until(page, "player.currentTime > 30.6")
    page.keyboard.press(" ")
    assert page.evaluate("player.paused")
    assert page.inner_text("#now") == "happy?, anna 0.75"
    assert page.locator("#list .current").count() == 1

    page.keyboard.press("Home")
    page.keyboard.press("n"), page.keyboard.press("n")
    assert time(page) == pytest.approx(5.0, abs=0.01)
    page.keyboard.press("p")
    assert time(page) == pytest.approx(1.0, abs=0.01)
    assert page.locator(".word.current").inner_text() == "one <i>"
    page.keyboard.press("ArrowRight"), page.keyboard.press("Shift+ArrowLeft")
    assert time(page) == pytest.approx(5.0, abs=0.01)

    page.click("text=two")
    assert time(page) == pytest.approx(301.0, abs=0.01)
    start, end = page.evaluate("[from, to]")
    assert start <= 301 <= end and end - start == pytest.approx(60)
    assert page.get_attribute("#view", "aria-valuetext") == "5:01.0, sad?, anna"
    page.keyboard.press("+")
    assert page.evaluate("to - from") == pytest.approx(30)
    page.keyboard.press("0")
    assert page.evaluate("[from, to]") == [0, SECONDS]
    page.click("#overview", position={"x": middle["x"], "y": 10})
    assert time(page) == pytest.approx(SECONDS / 2, abs=2)


def test_what_is_drawn(page: Any) -> None:
    """Colours where they belong: the first half happy, the second sad, white where nobody speaks."""
    page.keyboard.press("0")
    draw = "(x, y) => Array.from(view.getContext('2d').getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data).slice(0, 3)"
    width, height = page.evaluate("[view.clientWidth, view.clientHeight]")
    middle = height * 0.9

    def colour(second: float, y: float) -> list[int]:
        return page.evaluate(f"([x, y]) => ({draw})(x, y)", [second / SECONDS * width, y])

    assert colour(2.5, height * 0.75) == [0xE6, 0x9F, 0x00]  # the posterior of happy stands below
    assert colour(398.0, middle) == [0x00, 0x72, 0xB2]
    assert colour(396.4, middle) == [0xE8, 0xE8, 0xE8]
