"""`%tfs_console` on the line."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from tests.notebook.conftest import ANY, Notebook

if TYPE_CHECKING:
    from tests.conftest import Models


def test_as_a_page_and_in_a_cell(notebook: Notebook, models: Models) -> None:
    notebook.run(f"%tfs_serve {models.path('half_plus_two')} {ANY} --token=secret")
    link = notebook.run("%tfs_console --web")
    assert repr(link) == repr(notebook.run("%tfs_console --web")), "there is one page"
    assert "secret" not in repr(link) + link._repr_html_()
    assert "server.token" in repr(link)
    with urllib.request.urlopen(link.url) as reply:
        assert reply.status == 200
    bundle = notebook.run("%tfs_console")._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= bundle.keys()
    assert "AVAILABLE" in bundle["text/plain"]


def test_without_a_server(notebook: Notebook) -> None:
    assert notebook.refuse("%tfs_console") == "Nothing is served: %tfs_serve PATH starts a server"
