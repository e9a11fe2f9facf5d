"""A fresh IPython with the extension for a test, and a server with a model of every kind for a module."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.support.serving import BEFORE, config_text, label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY = "--port=0 --rest_api_port=0"


class Notebook:
    """Cells to run in a fresh shell, as a person writes them."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, cell: str) -> Any:
        """The value of the cell's last expression; what it raised is raised."""
        result = self.shell.run_cell(cell)
        result.raise_error()
        return result.result

    def refuse(self, cell: str) -> str:
        """The text of the UsageError that the cell must end in, which IPython shows without a traceback."""
        with pytest.raises(UsageError) as refused:
            self.run(cell)
        return str(refused.value)

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.shell.user_ns[name] = value

    @property
    def server(self) -> Server | None:
        """The server of the magics."""
        found: Server | None = self.shell.magics_manager.registry["ServingMagics"].server
        return found


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """A new IPython shell that writes its history nowhere."""
    BEFORE.clear()
    BEFORE.update(threading.enumerate())
    InteractiveShell.clear_instance()
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.ipython_dir = str(tmp_path_factory.mktemp("ipython"))
    made = InteractiveShell.instance(config=config)
    yield made
    made.history_manager.end_session()
    made.restore_sys_module_state()
    atexit.unregister(made.atexit_operations)  # each would collect all garbage at the end, for minutes
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """A notebook with the extension loaded; it is unloaded afterwards."""
    shell.run_line_magic("load_ext", "tfs_notebook")
    yield Notebook(shell)
    shell.run_line_magic("unload_ext", "tfs_notebook")


@pytest.fixture(scope="module")
def everything(models: Models) -> Iterator[Server]:
    """A server of the tests' models under names that have to be escaped somewhere; `half` 1 is labelled `stable`."""
    import tfs_notebook

    served = {
        "half": "half_plus_two", "team/cnn 100%": "cnn", "multi": "multi", "bytes": "bytes_image",
        "words": "vocabulary", "dtypes": "dtypes", "raising": "raising", "no input": "no_input",
        "scalar": "scalar_output", "slow": "slow",
    }  # fmt: skip
    paths = {name: models.path(exporter) for name, exporter in served.items()}
    text = config_text(paths, {"half": label("stable", 1)})
    with tfs_notebook.serve(config=text, port=0, rest_api_port=0) as server:
        yield server


@pytest.fixture
def asking(notebook: Notebook, everything: Server) -> Iterator[Notebook]:
    """A notebook whose magics ask `everything`, which outlives it."""
    magics = notebook.shell.magics_manager.registry["ServingMagics"]
    magics.server = everything
    yield notebook
    magics.server = None
