"""The console's page over real sockets: who may look, what they are told, and what they cannot do to others."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import tfs_notebook
from tests.support.ports import free_port
from tests.support.serving import PATIENCE, ask, until
from tfs_notebook.console.pages import open_page
from tfs_notebook.console.web import ConsolePage
from tfs_notebook.errors import ServingError
from tfs_notebook.server import start
from tfs_notebook.settings.deployment import single_model
from tfs_notebook.settings.ports import PortTakenError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from typing_extensions import Self

    from tests.conftest import Models
    from tfs_notebook.server.server import Server

ANY: dict[str, Any] = {"port": 0, "rest_api_port": 0}


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    with tfs_notebook.serve(models.path("half_plus_two"), console_port=-1, **ANY) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(models: Models) -> Iterator[Server]:
    path = models.path("half_plus_two")
    with tfs_notebook.serve(path, console_port=-1, token="secret", allowed_hosts="my.lab", **ANY) as running:
        yield running


def browse(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class Viewer:
    """One who looks, as the page does."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = connection

    async def hear(self) -> dict[str, Any]:
        """The next message; a closed socket is `{"closed": code}`."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return {"closed": self.socket.close_code}
        heard: dict[str, Any] = json.loads(message.data)
        return heard

    async def run(self, op: str, **arguments: str) -> dict[str, Any]:
        """The outcome of a command."""
        await self.socket.send_json({"id": 7, "op": op, "arguments": arguments})
        while (heard := await self.hear()).get("type") != "reply":
            assert "closed" not in heard
        assert heard["id"] == 7
        outcome: dict[str, Any] = heard["outcome"]
        return outcome


def page_of(server: Server) -> ConsolePage:
    return open_page(server, -1)


class Session:
    """A client with any number of viewers."""

    def __init__(self, server: Server) -> None:
        self.page = page_of(server)
        self.url = self.page.url.partition("#")[0]

    async def __aenter__(self) -> Self:
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.client.close()

    async def look(self, token: str = "", headers: dict[str, str] | None = None) -> Viewer:
        connection = await self.client.ws_connect(f"{self.url}ws", headers=headers, max_msg_size=0)
        await connection.send_json({"op": "hello", "token": token})
        return Viewer(connection)


def test_the_page_and_its_script(server: Server) -> None:
    async def visit() -> None:
        async with Session(server) as session:
            for path, content_type in (("", "text/html"), ("console.js", "text/javascript"), ("page.css", "text/css")):
                async with session.client.get(session.url + path) as reply:
                    assert reply.status == 200
                    assert reply.content_type == content_type
                    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
                    assert reply.headers["X-Content-Type-Options"] == "nosniff"
            for path in ("absent", "console.sources", "../snapshot.py", "%2e%2e/snapshot.py"):
                async with session.client.get(session.url + path) as reply:
                    assert reply.status == 404

    browse(visit())
    assert server.console_url == page_of(server).url
    assert f"console {server.console_url}" in str(server._repr_mimebundle_()["text/plain"])


def test_a_viewer_hears_the_whole_state_then_changes(server: Server) -> None:
    async def look() -> None:
        async with Session(server) as session:
            viewer = await session.look()
            first = await viewer.hear()
            assert first["type"] == "state"
            assert first["snapshot"]["models"][0]["name"] == "model"
            assert "stop" in {command["id"] for command in first["commands"]}
            before = first["snapshot"]["models"][0]["versions"][0]["requests"]
            assert (await viewer.run("predict", model="model", body='{"instances": [1.0]}'))["ok"]
            while "models" not in (heard := await viewer.hear()):
                assert heard["type"] == "change"
            assert heard["models"][0]["versions"][0]["requests"] == before + 1

    browse(look())


def test_nothing_is_made_while_nobody_looks(server: Server) -> None:
    page = page_of(server)

    async def look() -> None:
        async with Session(server) as session:
            viewer = await session.look()
            await viewer.hear()

    browse(look())
    until(lambda: page.hub._task is None, "the last viewer has left")
    made = page.hub.messages
    assert made > 0
    assert ask(server, "POST", "/v1/models/model:predict", {"instances": [1.0]}).status == 200
    server.reload(single_model("model", server.options.model_base_path))
    assert page.hub.messages == made


@pytest.mark.parametrize("token", ["", "wrong", "secre", "secret "])
def test_a_wrong_token_is_refused(guarded: Server, token: str) -> None:
    async def look() -> None:
        async with Session(guarded) as session:
            assert await (await session.look(token)).hear() == {"closed": 4401}

    browse(look())


def test_the_right_token_is_let_in(guarded: Server) -> None:
    assert page_of(guarded).url.endswith("/#token=secret")
    assert "secret" not in (guarded.console_url or "")

    async def look() -> None:
        async with Session(guarded) as session:
            heard = await (await session.look("secret")).hear()
            assert heard["snapshot"]["needs_token"]
            assert "secret" not in json.dumps(heard), "the state does not tell it"
            by_header = await session.look(headers={"Authorization": "Bearer secret"})
            assert (await by_header.hear())["type"] == "state"

    browse(look())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "my.lab"}, 101),
        ({"Host": "my.lab", "Origin": "http://evil.example"}, 403),
        ({"Host": "my.lab", "Origin": "https://my.lab"}, 101),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 101),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_pages_of_others_are_refused(guarded: Server, headers: dict[str, str], status: int) -> None:
    async def look() -> None:
        async with Session(guarded) as session:
            if status == 101:
                assert (await (await session.look("secret", headers)).hear())["type"] == "state"
                return
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.look("secret", headers)
            assert refused.value.status == status

    browse(look())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"op": "stop"}', '{"op": "hello", "token": ["secret"]}', "x" * 5000])
def test_who_does_not_greet_is_refused(guarded: Server, text: str) -> None:
    async def look() -> None:
        async with Session(guarded) as session:
            connection = await session.client.ws_connect(f"{session.url}ws")
            await connection.send_str(text)
            assert await Viewer(connection).hear() == {"closed": 4401}

    browse(look())
    assert guarded.running


def test_what_makes_no_sense_is_answered(server: Server) -> None:
    async def look() -> None:
        async with Session(server) as session:
            viewer = await session.look()
            for nonsense in ("", "[1]", "{", '{"op": 5}', json.dumps({"op": "describe", "arguments": [1]})):
                await viewer.socket.send_str(nonsense)
                while (heard := await viewer.hear()).get("type") != "reply":
                    assert "closed" not in heard
                assert heard["outcome"]["code"] == "INVALID_ARGUMENT"

    browse(look())


def test_fifty_viewers_and_one_that_does_not_read(server: Server) -> None:
    async def look() -> None:
        async with Session(server) as session:
            deaf = await session.look()
            viewers = [await session.look() for _ in range(50)]
            for viewer in viewers:
                assert (await viewer.hear())["type"] == "state"
            assert (await viewers[0].run("predict", model="model", body='{"instances": [4.0]}'))["ok"]
            for viewer in viewers:
                while "models" not in await viewer.hear():
                    pass
            assert not deaf.socket.closed

    browse(look())
    until(lambda: page_of(server).hub._task is None)


def test_more_than_a_hundred_are_turned_away(server: Server) -> None:
    async def look() -> None:
        async with Session(server) as session:
            viewers = [await session.look() for _ in range(100)]
            for viewer in viewers:
                assert (await viewer.hear())["type"] == "state"
            assert await (await session.look()).hear() == {"closed": 4429}

    browse(look())


def test_stopping_by_a_click_ends_everything(models: Models) -> None:
    server = tfs_notebook.serve(models.path("half_plus_two"), console_port=-1, **ANY)

    async def look() -> None:
        async with Session(server) as session:
            viewer = await session.look()
            await viewer.socket.send_json({"id": 1, "op": "stop"})
            while "closed" not in (heard := await viewer.hear()):
                pass
            assert heard == {"closed": 4410}

    port = page_of(server).port
    browse(look())
    until(lambda: not server.running and server.console_url is None)
    with socket.create_server(("127.0.0.1", port)):
        pass  # nobody else has it


def test_the_page_moves_with_a_change_and_stays_when_it_fails(models: Models) -> None:
    path = str(models.path("half_plus_two"))
    with tfs_notebook.serve(path, console_port=-1, **ANY) as server:
        first = page_of(server).port
        start.change(server, path, "", ANY)
        assert page_of(server).port == first
        second = free_port()
        with pytest.raises(ServingError):
            start.change(
                server, "", "model_config_list { config { name: 'm' base_path: 'x' } }", {"console_port": second}
            )
        assert page_of(server).port == first
        start.change(server, path, "", {**ANY, "console_port": second})
        assert page_of(server).port == second
        start.change(server, path, "", {**ANY, "console_port": 0})
        assert server.console_url is None


def test_a_taken_port_is_told_and_nothing_stays(models: Models, server: Server) -> None:
    taken = page_of(server).port
    with pytest.raises(PortTakenError, match=f"--console_port={taken}"):
        tfs_notebook.serve(models.path("half_plus_two"), console_port=taken, **ANY)
