"""What a connection asks of whoever answers its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from tfs_notebook.api.http.body_budget import BodyBudget
    from tfs_notebook.api.http.messages import Reply, Request


class Handler(Protocol):
    """Who answers. Its methods raise nothing."""

    @property
    def max_body_bytes(self) -> int:
        """How many bytes a body may have."""

    @property
    def bodies(self) -> BodyBudget:
        """How many bytes all bodies may have together."""

    @property
    def closing(self) -> bool:
        """Whether every reply is the last of its connection."""

    def admit(self, request: Request) -> Reply | None:
        """A look at the head: a reply refuses the request, None lets the body come."""

    def answer(self, request: Request) -> Reply | Awaitable[Any]:
        """The reply to a whole request, or what is cancelled when the client goes and else handed to `answered`."""

    def answered(self, request: Request, answer: asyncio.Future[Any]) -> Reply | Awaitable[Any]:
        """The same once the `answer` is there."""

    def abandoned(self, request: Request) -> None:
        """The client has gone before it was answered."""

    def refuse(self, request: Request, status: int, message: str) -> Reply:
        """The reply to a request that did not come as it should. It is the last of its connection."""

    def refuse_size(self, request: Request) -> Reply:
        """The same for a body that became longer than `max_body_bytes`."""

    def refuse_sum(self, request: Request) -> Reply:
        """The same for one that made all bodies together larger than they may be."""
