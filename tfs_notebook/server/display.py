"""How a server shows itself, which the notebook side registers: a server knows nothing of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_registered: list[Callable[..., dict[str, Any]]] = []


def register(make: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Let `make` give what is shown of a server: its representations by MIME type."""
    _registered[:] = [make]
    return make


def mimebundle(server: object, **kwargs: Any) -> dict[str, Any]:
    """What is shown of `server`, its text when nothing was registered."""
    return _registered[0](server, **kwargs) if _registered else {"text/plain": repr(server)}
