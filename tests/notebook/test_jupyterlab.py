"""The live table in a real JupyterLab, seen by a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from tests.notebook.lab import LabPage, chromium, jupyterlab, write_notebook
from tests.notebook.view.test_table import status
from tests.support.serving import config_text, label
from tfs_notebook.engine.storage.remote import SourceStatus, Transfer
from tfs_notebook.notebook.view.table import as_html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models

BUSY = """
import os, time
started = time.time()
os.rename("new", "growing/2")
while time.time() < started + 8:
    pass
print("the cell is over")
"""


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of Debian's chromium; on CI there must be one."""
    found = chromium()
    if not found:
        assert os.environ.get("CI") != "true", "chromium is missing, and on CI the browser tests must run"
        pytest.skip("chromium is missing: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


def table(page: Any) -> list[list[str]]:
    """The cells of the live table on the page, row by row."""
    rows: list[list[str]] = page.evaluate(
        "() => [...document.querySelector('.tfs-server').querySelectorAll('tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.innerText))"
    )
    return rows


INDENTS = """() => [...document.querySelectorAll('td.tfs-name')].map(cell => {
    const text = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT).nextNode(), range = document.createRange()
    const start = text.data.length - text.data.trimStart().length
    range.setStart(text, start); range.setEnd(text, start + 1)
    return [text.data.trim(), range.getBoundingClientRect().left - cell.getBoundingClientRect().left]
})"""


def test_versions_stand_indented_below_their_source(page: Any) -> None:
    root = "oss://examplebucket/models/"
    transfer = Transfer("modelA/2", 1, 3, 120_000, 4_000_000, 1e6)
    source = SourceStatus(root, "", "transferring", transfers=(transfer,), waiting={"modelB/1": "not uploaded yet"})
    page.set_content(as_html(status(sources=(source,))))
    indents = {name: left for name, left in page.evaluate(INDENTS) if "/" in name}
    assert indents[root] < 1
    assert indents["modelA/2"] == indents["modelB/1"] > 4


def test_the_table_is_live_while_a_cell_runs(models: Models, tmp_path: Path, page: Any) -> None:
    work = tmp_path / "work"
    for name, version in (("growing", 1), ("labelled", 1), ("labelled", 2)):
        (work / name).mkdir(parents=True, exist_ok=True)
        models.copy("half_plus_two", work / name, version)
    models.copy("half_plus_two", work, 9).rename(work / "new")
    text = config_text({"growing": work / "growing", "labelled": work / "labelled"}, {"labelled": label("stable", 2)})
    serve = f"%%tfs_serve --port=0 --rest_api_port=0\n{text}"
    write_notebook(work / "live.ipynb", ["%load_ext tfs_notebook", serve, BUSY.strip()])
    with jupyterlab(work, tmp_path / "home") as url:
        lab = LabPage(page)
        lab.open(url, "live.ipynb")
        for _ in range(3):
            lab.start_cell()
        page.wait_for_selector(".tfs-server", timeout=60_000)
        rows = [row[:4] for row in table(page)]
        assert ["labelled", "2", "● AVAILABLE", "stable"] in rows
        assert any(row[:2] == ["growing", "1"] for row in rows)
        page.wait_for_function(
            "() => /growing\\s+2\\s+● AVAILABLE/.test(document.querySelector('.tfs-server').innerText)", timeout=20_000
        )
        assert "the cell is over" not in lab.outputs(2).inner_text(), "the table changed while the cell ran"
        page.wait_for_function(
            "() => document.querySelector('.jp-Notebook').innerText.includes('the cell is over')", timeout=30_000
        )
        if shots := os.environ.get("TFS_SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / "live-table.png"))
