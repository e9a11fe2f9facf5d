"""A JupyterLab with directories of its own, and a browser to look at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from tests.support.ports import free_port
from tests.support.serving import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Page

STATUS = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"


def chromium() -> str:
    """The browser to use, "" when there is none."""
    named = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    return named if Path(named).exists() else shutil.which("chromium") or ""


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """A notebook of the code `cells` at `path`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


@contextmanager
def jupyterlab(root: Path, home: Path) -> Iterator[str]:
    """The URL of a JupyterLab that shows the files in `root` and keeps everything else in `home`."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(news))
    port = free_port()
    arguments = {
        "ServerApp.ip": "127.0.0.1", "ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.root_dir": root,
        "ServerApp.allow_root": True, "ServerApp.open_browser": False, "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True, "LabApp.user_settings_dir": home / "settings",
        "LabApp.workspaces_dir": home / "workspaces",
    }  # fmt: skip
    directories = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | directories | {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_PREFER_ENV_PATH": "0"}
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in arguments.items())]
    with (home / "lab.log").open("wb") as log:
        lab = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: _answers(port), "JupyterLab did not start")
        yield f"http://127.0.0.1:{port}/lab"
    finally:
        lab.send_signal(signal.SIGTERM)
        try:
            lab.wait(10)
        except subprocess.TimeoutExpired:
            lab.kill()
            lab.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class LabPage:
    """A notebook that is open in JupyterLab."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, url: str, notebook: str) -> None:
        """Show `notebook` and wait for its kernel."""
        self.page.goto(f"{url}/tree/{notebook}?reset")
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is there and idle."""
        self.page.wait_for_function(f"{STATUS} === 'idle'", timeout=30_000)

    def execute(self, command: str, **arguments: Any) -> None:
        """Run a command of JupyterLab and wait for it."""
        self.page.evaluate(
            "async ([command, arguments]) => { await window.jupyterapp.commands.execute(command, arguments); }",
            [command, arguments],
        )

    def start_cell(self) -> None:
        """Run the selected cell and select the next, without waiting for it."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell-and-select-next'); }")

    def outputs(self, cell: int) -> Any:
        """The output area of a cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")
