"""The console of a cell in a real JupyterLab: drawn by the widget, live while a cell runs, commands answered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.conftest import browser
from tests.notebook.lab import LabPage, jupyterlab, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.conftest import Models

__all__ = ["browser"]
BUSY = """
import os, time
os.rename("new", "model/2")
started = time.time()
while time.time() < started + 20:
    pass
print("the cell is over")
"""


@pytest.mark.timeout(400)
def test_the_console_is_live_in_a_cell(models: Models, tmp_path: Path, browser: Browser) -> None:
    work = tmp_path / "work"
    (work / "model").mkdir(parents=True)
    models.copy("half_plus_two", work / "model", 1)
    models.copy("half_plus_two", work, 9).rename(work / "new")
    serve = "server = %tfs_serve model --port=0 --rest_api_port=0"
    write_notebook(work / "console.ipynb", ["%load_ext tfs_notebook", serve, "%tfs_console", BUSY.strip()])
    page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    with jupyterlab(work, tmp_path / "home") as url:
        lab = LabPage(page)
        lab.open(url, "console.ipynb")
        for _ in range(3):
            lab.start_cell()
        page.locator("tr.model .chip", has_text="1").wait_for()
        page.locator("#tab-try").click()
        page.locator("[data-command=predict]:enabled").click()
        page.locator(".reply", has_text="predictions").wait_for()
        page.locator("#tab-models").click()  # which selects the cell
        lab.execute("notebook:move-cursor-down")
        lab.start_cell()
        page.locator("tr.model .chip", has_text="2").wait_for()
        assert "the cell is over" not in lab.outputs(3).inner_text(), "the console changed while the cell ran"
        if shots := os.environ.get("TFS_SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / "console-lab.png"))
    page.close()
