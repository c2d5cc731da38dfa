"""The page in Chromium: a person draws, completes, plays, scrubs, by mouse and by keyboard."""

import pathlib

import numpy as np
import pytest

from mf_keras import viewer
from tests.page.stub import StubModel
from tests.page.test_server import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = pathlib.Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WAIT = 8_000  # milliseconds
# What Chromium's accessibility tree has of controls without a name: none.
NAMELESS = """
() => [...document.querySelectorAll("button, input, select, textarea, canvas, [role=img]")]
  .filter((each) => each.checkVisibility())
  .filter((each) => !(each.labels?.length || each.getAttribute("aria-label")
                      || each.textContent.trim()))
  .map((each) => each.outerHTML)
"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a page; its errors, on the console too, and requests elsewhere fail the test."""
    wrong, pages = [], []

    def open_page(url, width=1000, **options):
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda each: each.url.startswith((url, "data:")) or wrong.append(each))
        page.goto(url)
        page.wait_for_selector(".run")
        pages.append(page)
        return page

    open_page.wrong = wrong
    yield open_page
    for page in pages:
        page.close()
    assert not wrong


@pytest.fixture(scope="module")
def live():
    model = StubModel()
    with serving(model) as page:
        yield model, page.url


def pixel(page, row, column):
    """The middle of a pixel of the 4 x 4 pad."""
    box = page.locator("#pad").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 4, box["y"] + (row + 0.5) * box["height"] / 4


def clock(page):
    return page.locator("#clock").text_content()


def test_draw_complete_play_and_scrub(live, open_page):
    model, url = live
    page = open_page(url)
    assert page.locator("h2").all_text_contents() == ["Free-running"]
    page.mouse.move(*pixel(page, 0, 0))
    page.mouse.down()
    page.mouse.move(*pixel(page, 0, 3))  # too fast for the pixels between
    page.mouse.up()
    page.mouse.click(*pixel(page, 1, 2))
    page.mouse.click(*pixel(page, 0, 1))  # erases
    page.locator("#seed").fill("7")
    page.locator("#temperature").fill("0.5")
    page.locator("#speed").select_option("60")
    page.get_by_role("button", name="Complete").click()
    page.wait_for_selector("h2:has-text('Completion')")
    assert model.asked[-1] == ("complete", [1, 0, 1, 1, 0, 0, 1, 0], 7, 0.5)
    asked = len(model.asked)
    assert "8 steps given, 8 by the model" in page.locator(".facts").text_content()
    page.wait_for_selector("#play-word:has-text('Play')")  # it has played to its end
    assert clock(page) == "t = 16 of 16"
    assert len(model.asked) == asked
    page.locator("#rows").fill("3")  # from now on a change of an option asks again
    page.wait_for_selector(".facts:has-text('12 steps given')")
    page.locator("#rows").fill("2")
    page.wait_for_selector(".facts:has-text('8 steps given')")
    page.wait_for_selector("#play-word:has-text('Play')")
    page.locator("#scrub").fill("10")
    assert clock(page) == "t = 10 of 16"
    now = page.locator(".now").text_content()
    assert now.startswith(
        "pixel row 3, column 2: ink, by the model \u00b7 writes slot 1\u00a0(1.00)"
    )
    timeline = page.locator(".timeline .frame").first.bounding_box()
    page.mouse.click(timeline["x"] + timeline["width"] * 3.5 / 16, timeline["y"] + 5)
    assert clock(page) == "t = 4 of 16"
    assert "ink, given" in page.locator(".now").text_content()
    box = page.locator(".matrix canvas").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    assert page.locator("text=slot 3, column 4").text_content().endswith(": 4.03")  # of 8 bits


def test_keyboard(live, open_page):
    model, url = live
    page = open_page(url)
    keys = page.keyboard
    page.locator("#speed").select_option("2")
    keys.press("Escape")
    page.locator("body").click(position={"x": 500, "y": 20})
    keys.press("Home")
    assert clock(page) == "t = 1 of 16"
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("ArrowLeft")
    assert clock(page) == "t = 2 of 16"
    keys.press("Space")
    assert page.locator("#play-word").text_content() == "Pause"
    keys.press("Space")
    assert page.locator("#play-word").text_content() == "Play"
    keys.press("End")
    assert clock(page) == "t = 16 of 16"
    page.locator("#pad").focus()
    for key in ("ArrowDown", "ArrowRight", "Space"):
        keys.press(key)
    assert page.locator("#pad-at").text_content() == "row 2, column 2, ink"
    assert clock(page) == "t = 16 of 16"  # the pad has the arrows while it has the focus
    page.get_by_label("Seed", exact=True).focus()
    keys.press("Enter")
    page.wait_for_selector("h2:has-text('Completion')")
    assert model.asked[-1][1] == [0, 0, 0, 0, 0, 1, 0, 0]


def test_compare(live, open_page):
    model, url = live
    page = open_page(url, reduced_motion="reduce")
    page.get_by_role("button", name="Copy result here").click()
    page.get_by_text("Compare").first.click()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("h2:has-text('Teacher-forced')")
    assert page.locator("h2").all_text_contents() == ["Teacher-forced", "Free-running"]
    assert model.asked[-2:] == [("force", [1] * 16), ("complete", [], 0, 1.0)]
    assert clock(page) == "t = 16 of 16"  # it does not play by itself where less motion is wished


def test_errors_are_shown(live, open_page):
    model, url = live
    page = open_page(url)
    alert, button = page.get_by_role("alert"), page.get_by_role("button", name="Complete")
    asked = len(model.asked)
    for seed in ("0.5", "-1", ""):
        page.locator("#seed").fill(seed)
        button.click()
        assert alert.text_content() == "The seed must be a whole number from 0 to 2147483647."
    assert len(model.asked) == asked
    page.locator("#seed").fill("1")
    refusal = {"json": {"error": "too many requests"}, "status": 503}
    page.route("**/api/run", lambda route: route.fulfill(**refusal))
    button.click()
    page.wait_for_selector("#error:has-text('too many requests')")
    page.route("**/api/run", lambda route: route.abort())
    button.click()
    page.wait_for_selector("#error:has-text('does not respond')")
    page.unroute_all()
    button.click()
    page.wait_for_selector("h2:has-text('Completion')")
    assert alert.text_content() == ""
    assert len(open_page.wrong) == 2  # the browser's own lines
    open_page.wrong.clear()


@pytest.mark.parametrize(("width", "scheme"), [(1000, "light"), (390, "dark")])
def test_everything_has_a_name_and_fits(live, open_page, width, scheme):
    page = open_page(live[1], width, color_scheme=scheme)
    assert not page.evaluate(NAMELESS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Temperature", "Seed", "Rows the model is given", "Speed", "Step"):
        assert page.get_by_label(name, exact=True).count() == 1, name


def test_text(open_page):
    model = StubModel(8, classes=3)
    with serving(model, tokens=["a", "b", "\n"]) as server:
        page = open_page(server.url)
        page.get_by_label("Text the model is given").fill("ab\na")
        assert page.locator("#count").text_content() == "4 of 8"
        page.get_by_role("button", name="Complete").click()
        page.wait_for_selector("h2:has-text('Completion')")
        assert model.asked[-1][1] == [0, 1, 2, 0]
        page.keyboard.press("End")
        page.locator("#scrub").fill("8")
        assert page.locator(".text").text_content() == "ab\nabbbb"
        page.get_by_label("Text the model is given").fill("axb")
        page.get_by_role("button", name="Complete").click()
        assert "does not know token 2" in page.get_by_role("alert").text_content()


def test_a_file_without_a_server(open_page, tmp_path):
    model = StubModel(6)
    run = model.force(np.array([0, 1, 0, 1, 1, 1]))
    other = run._replace(sequence=np.linspace(-1, 1, 12).reshape(6, 2), read_weights=None)
    path = viewer.write_page(
        tmp_path / "memory.html", {"a <b>": run, "c": run}, (2, 3), title="Mine"
    )
    page = open_page(path.as_uri())
    assert page.title() == page.locator("h1").text_content() == "Mine"
    assert page.locator("h2").all_text_contents() == ["a <b>", "c"]
    page.locator("#play").click()
    page.wait_for_selector("#play-word:has-text('Play')")
    assert clock(page) == "t = 6 of 6"
    assert not page.evaluate(NAMELESS)
    path = viewer.write_page(
        tmp_path / "bare.html", {"numbers": other._replace(write_weights=None)}
    )
    assert open_page(path.as_uri()).locator(".timeline").count() == 1
