"""The guide's three models in a bucket, from SavedModels of y = x / 2 + version."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support import saved_models
from tests.support.serving import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.oss.stand_in.server import OssServer

KEY = "models/tf_serving"
ROOT = f"oss://examplebucket/{KEY}/"
CONFIG = f"{ROOT}model_config.pbtxt"
POLICIES = {
    "modelA": "all {}",
    "modelB": "specific { versions: 1 versions: 2 }",
    "modelC": "latest { num_versions: 2 }",
}
LABELS = {"modelB": "version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 2 }"}
VERSIONS = {"modelA": (1,), "modelB": (1, 2), "modelC": (1, 2, 3)}


def config(*names: str, labels: bool = True) -> bytes:
    """The guide's model_config.pbtxt, or of it the models `names`."""
    models = (
        f"config {{ name: '{name}' base_path: '/models/{name}/' model_platform: 'tensorflow' "
        f"model_version_policy {{ {POLICIES[name]} }} {LABELS.get(name, '') if labels else ''} }}"
        for name in names or POLICIES
    )
    return f"model_config_list {{ {' '.join(models)} }}".encode()


class Guide:
    """The bucket as the guide has it; `put` uploads another version, whose answer to 0 is its number."""

    def __init__(self, oss: OssServer, models: Path) -> None:
        self.oss = oss
        self._models = models
        for name, versions in VERSIONS.items():
            for version in versions:
                self.put(name, version)
        self.configure()

    def put(self, name: str, version: int, *, without: str = "") -> None:
        """Upload a version, all but the files whose path contains `without`."""
        source = self.version(version)
        for path in sorted(source.rglob("*"), reverse=True):
            if path.is_file() and not (without and without in path.as_posix()):
                self.oss.put(f"{KEY}/{name}/{version}/{path.relative_to(source).as_posix()}", path)

    def version(self, version: int) -> Path:
        """The version on this machine."""
        source = self._models / str(version)
        return source if source.exists() else saved_models.half_plus_two(source, offset=version)

    def configure(self, *names: str, text: bytes = b"", labels: bool = True) -> None:
        """Upload the config of the models `names`, by default all, or `text`."""
        self.oss.put(f"{KEY}/model_config.pbtxt", text or config(*names, labels=labels))


@contextmanager
def asking(url: str, *paths: str) -> Iterator[list[str]]:
    """Clients of the server at `url` ask without a pause; gives what went wrong."""
    failures, over, address = list[str](), threading.Event(), urlsplit(url)

    def ask(path: str) -> None:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        while not over.is_set():
            try:
                connection.request("POST", f"/v1/models/{path}:predict", b'{"instances": [0.0]}')
                reply = connection.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{path}: {error!r}")
                return
            if reply.status != 200:
                failures.append(f"{path}: {reply.status} {body!r}")
                return
        connection.close()

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        over.set()
        for thread in threads:
            thread.join()
