"""Executes a notebook in a real kernel, prints what was served and answered, and keeps the executed page.

`python examples/demo.py [NAME]` takes quickstart, deployment or oss, by default the first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

if TYPE_CHECKING:
    from nbformat import NotebookNode

HERE = Path(__file__).parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> NotebookNode:
    """The notebook at `path`, executed in a kernel of this Python in its own directory."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    return notebook


def shown(notebook: NotebookNode) -> str:
    """The cells tagged `demo`, with what they printed."""
    parts = []
    for cell in notebook.cells:
        if "demo" in cell.metadata.get("tags", ()):
            prompt = "\n".join(f"    {line}" for line in cell.source.splitlines())
            parts.append(f"{prompt}\n\n{chr(10).join(_texts(cell))}\n")
    return "\n".join(parts)


def _texts(cell: NotebookNode) -> list[str]:
    texts = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return [text.rstrip() for text in texts]


def save(notebook: NotebookNode, directory: Path, name: str) -> Path:
    """Write `name`.ipynb and `name`.html; the page shows each live table as it was, without scripts from elsewhere."""
    directory.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, directory / f"{name}.ipynb")
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    notebook.metadata.pop("widgets", None)
    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    path = directory / f"{name}.html"
    path.write_text(page)
    return path


def main() -> int:
    """Run the demo; returns the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else "quickstart"
    notebook = execute(HERE / f"{name}.ipynb")
    page = save(notebook, HERE.parent / "build", name)
    print(shown(notebook))
    print(f"The executed page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
