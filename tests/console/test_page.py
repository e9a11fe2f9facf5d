"""The console as a web page in a real browser: what is clicked happens, and names do nothing but stand there."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import tfs_notebook
from tests.support.serving import ALL, PATIENCE, ask, config_text, label, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("models", "try", "traffic", "config", "calls", "events")
HOSTILE = "<img src=x onerror=window.hacked=1>"
VIOLATIONS = """async () => (await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]}))
    .violations.map(each => each.id + ": " + each.nodes.map(node => node.html).join(" | "))"""
BOXES = """() => [...document.querySelector("#console").shadowRoot.querySelectorAll("td, th, button, .chip, header *")]
    .map(each => { const box = each.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })"""


@pytest.fixture(scope="module")
def server(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions with labels, a model of pictures, and one that cannot be loaded and has a name that is HTML."""
    root = tmp_path_factory.mktemp("served")
    for name, versions in (("half", (1, 2)), ("digits", (3,))):
        (root / name).mkdir()
        for version in versions:
            models.copy("cnn" if name == "digits" else "half_plus_two", root / name, version)
    (root / "broken" / "1").mkdir(parents=True)
    (root / "broken" / "1" / "saved_model.pb").write_bytes(b"no model")
    paths = {"half": root / "half", "digits": root / "digits", HOSTILE: root / "broken"}
    text = config_text(paths, {"half": ALL + label("stable", 1) + label("canary", 2)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0, console_port=-1) as running:
        yield running


@contextmanager
def opened(browser: Browser, server: Server, theme: Any = "light", **context: Any) -> Iterator[Page]:
    """The page in a window of its own; it must have logged nothing, and nothing must have been executed, at the end."""
    window = browser.new_context(viewport={"width": 1180, "height": 720}, color_scheme=theme, **context)
    page = window.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(server.console_url or "")
    page.wait_for_selector("tr.model")
    yield page
    assert page.evaluate("window.hacked") is None
    assert told == []
    window.close()


def show(page: Page, view: str) -> None:
    page.locator(f"#tab-{view}").click()
    page.wait_for_selector(f"#tab-{view}[aria-selected=true]")


def requests(server: Server, name: str) -> int:
    versions = next(model.versions for model in server.status().models if model.name == name)
    return sum(calls.count for version in versions for calls in version.calls.values())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view(browser: Browser, server: Server, theme: str) -> None:
    with opened(browser, server, theme) as page:
        page.locator(".toggle", has_text="half").click()
        assert page.locator("tr.version").count() == 2
        assert page.locator("tr.model").count() == 3
        assert HOSTILE in page.locator("tr.model", has_text="img").inner_text()
        assert "failed" in page.locator("tr.model", has_text="img").inner_text()
        assert "canary" in page.locator("tr.model", has_text="half").inner_text()
        before, boxes = requests(server, "half"), page.evaluate(BOXES)
        for _ in range(5):
            assert ask(server, "POST", "/v1/models/half/labels/canary:predict", {"instances": [1.0]}).status == 200
        assert requests(server, "half") == before + 5
        page.locator("tr.model .c-number", has_text="s").first.wait_for()  # a latency, in µs or ms
        assert page.evaluate(BOXES) == boxes, "nothing moves while numbers change"
        for view in VIEWS:
            show(page, view)
            if view == "calls":
                page.wait_for_selector(".snippets pre")
            if AXE.exists():
                page.evaluate(AXE.read_text())
                assert page.evaluate(VIOLATIONS) == [], view
            if shots := os.environ.get("TFS_SCREENSHOTS"):
                page.screenshot(path=str(Path(shots) / f"console-{view}-{theme}.png"))


def test_a_request_is_typed_and_sent(browser: Browser, server: Server) -> None:
    with opened(browser, server) as page:
        show(page, "try")
        page.get_by_label("Model").select_option("half")
        page.get_by_label("Version").select_option("@canary")
        body = page.get_by_label("Request body, JSON")
        page.wait_for_function("() => document.querySelector('#console').shadowRoot.querySelector('textarea')?.value")
        body.fill('{"instances": [1.0,\n 2.0 x]}')
        assert "Line 2, column 6" in page.locator(".fault").inner_text()
        assert page.locator("[data-command=predict]").is_disabled()
        before = requests(server, "half")
        body.fill('{"instances": [1.0, 2.0]}')
        body.press("Control+Enter")
        page.wait_for_selector(".reply")
        assert json.loads(page.locator(".reply").inner_text()) == {"predictions": [2.5, 3.0]}
        assert requests(server, "half") == before + 1
        assert page.locator(".same code").inner_text() == "%%tfs_predict half --label canary --via rest …"
        page.get_by_role("button", name="Python").click()
        assert page.locator(".same code").inner_text() == 'server.predict("half", inputs, label="canary")'


def test_a_digit_is_drawn_and_read(browser: Browser, server: Server) -> None:
    with opened(browser, server) as page:
        show(page, "try")
        page.get_by_label("Model").select_option("digits")
        box = page.locator("canvas").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 100, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 105, box["y"] + 170, steps=8)
        page.mouse.up()
        before = requests(server, "digits")
        page.locator("[data-command=predict]").click()
        page.wait_for_selector(".scores li")
        assert requests(server, "digits") == before + 1
        assert page.locator(".scores li").count() == 5
        if shots := os.environ.get("TFS_SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / "console-drawn.png"))


def test_a_label_moves_by_a_click_and_back(browser: Browser, server: Server) -> None:
    def canary() -> Any:
        return ask(server, "GET", "/v1/models/half/labels/canary/metadata").json["model_spec"]["version"]

    with opened(browser, server) as page:
        page.locator(".toggle", has_text="half").click()
        assert canary() == "2"
        row = page.locator("tr.version", has_text="Version 1")
        row.get_by_role("button", name="← canary").click()
        row.locator(".label", has_text="canary").wait_for()
        until(lambda: canary() == "1")
        assert page.locator(".same code").inner_text() == "%tfs_label half canary=1"
        row.get_by_role("button", name="+ Label").click()
        row.get_by_label("New label").fill("third")
        page.keyboard.press("Enter")
        row.locator(".label", has_text="third").wait_for()
        show(page, "config")
        text = page.get_by_label("Configuration, model_config.pbtxt")
        page.wait_for_function("() => document.querySelector('#console').shadowRoot.querySelector('textarea')?.value")
        text.fill(text.input_value().replace("third", "fourth").replace("version_labels", "version_lables", 1))
        assert "+" in page.locator(".difference .added").first.inner_text()
        page.locator("[data-command=apply]").click()
        page.locator(".problem", has_text="version_lables").wait_for()
        if shots := os.environ.get("TFS_SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / "console-config-error.png"))
        page.get_by_role("button", name="Discard").click()
        for _ in range(2):
            page.locator("[data-command=undo]:enabled").click()
            page.locator("[data-command=undo]:enabled").wait_for()
        until(lambda: canary() == "2")
        until(lambda: "third" not in server.config_text())


def test_all_by_keyboard(browser: Browser, server: Server) -> None:
    with opened(browser, server) as page:
        page.locator("#tab-models").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#tab-try").get_attribute("aria-selected") == "true"
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        assert page.locator("#tab-models").get_attribute("aria-selected") == "true"
        for _ in range(2):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator(".toggle").first.get_attribute("aria-expanded") == "true"


def test_in_chinese(browser: Browser, server: Server) -> None:
    with opened(browser, server, locale="zh-CN") as page:
        assert page.locator("#tab-models").inner_text().startswith("模型")
        assert page.locator("[data-command=stop]").inner_text() == "停止"


def test_a_token_is_asked_for(browser: Browser, models: Models) -> None:
    path = models.path("half_plus_two")
    with tfs_notebook.serve(path, port=0, rest_api_port=0, console_port=-1, token="secret") as server:
        page = browser.new_page()
        page.goto(server.console_url or "")
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("form")
        page.get_by_label("Token").fill("secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("tr.model")
        page.goto(f"{server.console_url}#token=secret")
        page.wait_for_selector("tr.model")
        assert "secret" not in page.url
        page.close()


def test_stopped_by_a_click(browser: Browser, models: Models) -> None:
    with tfs_notebook.serve(models.path("half_plus_two"), port=0, rest_api_port=0, console_port=-1) as server:
        page = browser.new_page()
        page.goto(server.console_url or "")
        page.locator("[data-command=stop]").click()
        assert page.locator(".same code").inner_text() == "%tfs_stop"
        page.get_by_role("button", name="Keep serving").click()
        assert server.running
        page.locator("[data-command=stop]").click()
        page.locator("[data-command=stop]").click()
        until(lambda: not server.running)
        page.wait_for_selector("text=does not answer")
        page.close()
