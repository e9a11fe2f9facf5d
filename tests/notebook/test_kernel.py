"""What only a real kernel shows: Ctrl-C, restart, reloading the extension, updates while a cell runs."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import KernelManager

from tests.support.ports import free_ports
from tests.support.serving import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Models


INTERRUPT_WHILE_TENSORFLOW_IS_IMPORTED = """
import os, signal, sys, threading, time
def interrupt():
    while "tensorflow" not in sys.modules:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
"""

INTERRUPT_WHILE_THE_SLOW_MODEL_IS_ASKED = """
import os, signal, threading, time
asked = server._core.manager.registry.serving["slow"][1]
def interrupt():
    global interrupted
    while not asked._pins:
        time.sleep(0.01)
    interrupted = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
"""


class Kernel:
    """A kernel, and what its cells said."""

    def __init__(self) -> None:
        # Over sockets in a directory of its own: the ports that Jupyter picks may be taken before the kernel has them
        directory = Path(tempfile.mkdtemp(prefix="kernel-"))
        self.manager = KernelManager(
            kernel_name="python3", transport="ipc", connection_file=str(directory / "kernel.json")
        )
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.messages: list[dict[str, Any]] = []

    def run(self, code: str, *, timeout: float = PATIENCE) -> str:
        """Run a cell; its streams, results and errors as text. `messages` has all it sent before it ended."""
        self.messages = []
        self.client.execute_interactive(code, output_hook=self.messages.append, timeout=timeout)
        return "".join(map(_text, self.messages))

    def updates(self) -> int:
        """How many widget updates came while the last cell ran."""
        return sum(message["msg_type"] == "comm_msg" for message in self.messages)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        shutil.rmtree(Path(self.manager.connection_file).parent)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if message["msg_type"] == "error":
        return f"{content['ename']}: {content['evalue']}"
    return str(content.get("text") or content.get("data", {}).get("text/plain", ""))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded; tests leave no server behind."""
    started = Kernel()
    assert started.run("%load_ext tfs_notebook") == ""
    yield started
    started.close()


@pytest.fixture
def served(kernel: Kernel, models: Models) -> Iterator[Kernel]:
    """The kernel while it serves half_plus_two and slow."""
    config = "".join(
        f"config {{ name: '{name}' base_path: '{models.path(name)}' model_platform: 'tensorflow' }}"
        for name in ("half_plus_two", "slow")
    )
    shown = kernel.run(f"%%tfs_serve --port=0 --rest_api_port=0\nmodel_config_list {{ {config} }}")
    assert "half_plus_two  1        ● AVAILABLE" in shown
    yield kernel
    kernel.run("%tfs_stop")


def test_a_server_is_shown_as_widget_html_and_text(served: Kernel) -> None:
    served.run("%tfs_status")
    shown = next(m["content"]["data"] for m in served.messages if m["msg_type"] == "execute_result")
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= shown.keys()


@pytest.mark.parametrize("busy", ["while time.time() < t: pass", "time.sleep(3)"])
def test_the_table_changes_while_a_cell_is_busy_at_most_ten_times_a_second(served: Kernel, busy: str) -> None:
    ask = "while time.time() < t: server.predict('half_plus_two', [1.0])"
    thread = f"import threading, time\ndef ask():\n    {ask}\n"
    served.run(f"{thread}server = %tfs_status\nt = time.time() + 3\nthreading.Thread(target=ask).start()\n{busy}")
    assert 2 <= served.updates() <= 31


@pytest.mark.parametrize("via", ["local", "rest", "grpc"])
def test_ctrl_c_during_a_request_returns_the_prompt_and_the_server_goes_on(served: Kernel, via: str) -> None:
    served.run(f"server = %tfs_status\n{INTERRUPT_WHILE_THE_SLOW_MODEL_IS_ASKED}")
    answer = served.run(f'%%tfs_predict slow --via {via}\n{{"inputs": {{"seconds": 20.0}}}}')
    assert "KeyboardInterrupt" in answer
    assert served.run("print(time.monotonic() - interrupted < 15)") == "True\n"
    assert "[2.5]" in served.run('%%tfs_predict half_plus_two\n{"instances": [1.0]}')


def test_nothing_is_left_after_unloading_and_one_of_each_after_reloading(kernel: Kernel, models: Models) -> None:
    kernel.run(f"%tfs_serve {models.path('half_plus_two')} --port=0 --rest_api_port=0")
    left = (
        "import threading, time\nfrom ipywidgets.widgets import widget\n%unload_ext tfs_notebook\n"
        "def threads():\n    return [t.name for t in threading.enumerate() if t.name.startswith('tfs')]\n"
        "t = time.time() + 10\nwhile threads() and time.time() < t:\n    time.sleep(0.01)\n"
        "shell = get_ipython()\n"
        "print(threads(),"
        " [w for w in widget._instances.values() if 'tfs-server' in str(getattr(w, 'value', ''))],"
        " [n for kind in ('line', 'cell') for n in shell.magics_manager.magics[kind] if n.startswith('tfs')])"
    )
    assert kernel.run(left).strip() == "[] [] []"
    assert kernel.run("%reload_ext tfs_notebook\n%reload_ext tfs_notebook\n%reload_ext tfs_notebook") == ""
    count = kernel.run("print(sum(type(c).__name__ == 'ServingMagics' for c in get_ipython().configurables))")
    assert count.strip() == "1"


def test_new_versions_write_into_no_cell(served: Kernel, models: Models, tmp_path: Path) -> None:
    base = tmp_path / "growing"
    base.mkdir()
    models.copy("half_plus_two", base, 1)
    served.run(f"tfs_server = %tfs_serve {base} --port=0 --rest_api_port=0")
    models.copy("half_plus_two", base, 2)
    numbers = "[v.number for m in server.status().models for v in m.versions if v.state.name == 'AVAILABLE']"
    wait = f"while 2 not in {numbers} and time.time() < t: time.sleep(0.01)"
    assert served.run(f"import time\nserver = tfs_server\nt = time.time() + 20\n{wait}\nprint({numbers})") == "[2]\n"


def test_a_restart_frees_the_ports_and_the_same_numbers_bind_again(models: Models) -> None:
    grpc_port, rest_port = free_ports(2)
    ports = f"--port={grpc_port} --rest_api_port={rest_port}"
    serve = f"%load_ext tfs_notebook\n%tfs_serve {models.path('half_plus_two')} {ports}"
    kernel = Kernel()
    try:
        assert f"localhost:{rest_port}" in kernel.run(serve)
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", rest_port))
        assert f"localhost:{rest_port}" in kernel.run(serve)
    finally:
        kernel.close()


def test_ctrl_c_during_the_start_leaves_nothing_running(models: Models) -> None:
    serve = f"%tfs_serve {models.path('half_plus_two')} --port=0 --rest_api_port=0"
    kernel = Kernel()
    try:
        kernel.run(f"%load_ext tfs_notebook\n{INTERRUPT_WHILE_TENSORFLOW_IS_IMPORTED}")
        assert "KeyboardInterrupt: nothing is served" in kernel.run(serve)
        assert "● AVAILABLE" in kernel.run(serve)
    finally:
        kernel.close()


def test_a_tensorflow_that_is_imported_already_writes_nothing_into_the_cells_that_serve_and_ask(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # or the kernel does not show what is written past Python
    kernel = Kernel()
    try:
        kernel.run("import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '0'\nimport tensorflow\n%load_ext tfs_notebook")
        kernel.run(f"%tfs_serve {models.path('cnn')} --port=0 --rest_api_port=0")
        assert [m["content"]["text"] for m in kernel.messages if m["msg_type"] == "stream"] == []
        refused = kernel.run("%%tfs_predict model\n[[1.0, 2.0]]")
        assert refused.startswith("UsageError: ")
        assert "rendezvous" not in refused, "TensorFlow warns of every request that a graph refuses"
    finally:
        kernel.close()
