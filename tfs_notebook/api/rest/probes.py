"""`/livez` and `/readyz`, as Kubernetes asks for them; this project's own.

Probes carry no token, and address the server by whatever name they know. So anybody may ask; which models are not
ready, and why, is told only to those who may ask for everything else, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tfs_notebook.api.http.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PATHS = frozenset({"/livez", "/readyz"})


def probe(method: str, path: str, not_ready: Callable[[], Mapping[str, str]], *, told: bool) -> Reply | None:
    """The reply to a probe, None for another path or method.

    `/livez`: 200 `{"live": true}`, for as long as requests are answered. `/readyz`: 200 `{"ready": true}` when every
    configured model has an available version; otherwise 503 `{"ready": false}` and, when `told`, in `models` by name
    why not, as `not_ready` gives it.
    """
    path = path.partition("?")[0]
    if path not in _PATHS or method not in {"GET", "HEAD"}:
        return None
    if path == "/livez":
        return _reply(200, {"live": True})
    models = not_ready()
    if not models:
        return _reply(200, {"ready": True})
    return _reply(503, {"ready": False, "models": models} if told else {"ready": False})


def _reply(status: int, value: Mapping[str, Any]) -> Reply:
    return Reply(status, orjson.dumps(value), headers=[(b"Cache-Control", b"no-store")])
