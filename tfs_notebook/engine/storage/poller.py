"""Looks for something new in all base paths, on one timer and one thread however many models there are.

Nearly all looks find nothing. Where a scan depended on nothing but the names in the base path (`Scan.names`), comparing
the names tells as much as another scan does, on every file system and whatever its clock says. A model with other names
than before, or whose scan depends on more, gets a look of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tfs_notebook.engine.storage import scan
from tfs_notebook.threads import NoThreadError, run_on_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tfs_notebook.engine.storage.watcher import Lookout

_PATIENCE = 1.0
"""Seconds without progress after which the base path at hand counts as one that does not answer."""
_MAX_HELD_UP = 32
"""Base paths that may leave their thread waiting at a time."""


class Poller:
    """Lets every one of `lookouts` look when there is something new; lives on the event loop that begins it."""

    def __init__(self, lookouts: Callable[[], Iterable[Lookout]], period: Callable[[], float]) -> None:
        """`period` tells the seconds between two polls; 0 or less: none."""
        self._lookouts = lookouts
        self._period = period
        self._timer: asyncio.TimerHandle | None = None
        self._relief: asyncio.TimerHandle | None = None
        self._to_compare: list[tuple[Lookout, str, frozenset[str]]] = []
        self._comparing: set[Lookout] = set()
        """The models whose base paths are being read right now; one that does not answer stays here."""

    def restart(self) -> None:
        """Poll from now on, with the period as it is now."""
        self.stop()
        if (period := self._period()) > 0:
            self._timer = asyncio.get_running_loop().call_later(period, self._poll)

    def stop(self) -> None:
        """Poll no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _poll(self) -> None:
        self.restart()
        if self._to_compare:  # the last poll has not come to its end
            return
        to_compare = []
        for lookout in self._lookouts():
            if lookout.is_looking or lookout in self._comparing:
                continue
            if (names := lookout.names) is None:
                lookout.begin_look()
            else:
                to_compare.append((lookout, lookout.base_path, names))
        if to_compare:
            self._to_compare = to_compare
            self._begin_thread()

    def _begin_thread(self) -> None:
        loop = asyncio.get_running_loop()
        self._relieve_later()
        with contextlib.suppress(NoThreadError):  # `_relieve` tries again
            run_on_daemon_thread(lambda: self._compare(loop), "tfs-poll")

    def _relieve_later(self) -> None:
        if self._relief is not None:
            self._relief.cancel()
        self._relief = asyncio.get_running_loop().call_later(_PATIENCE, self._relieve, len(self._to_compare))

    def _relieve(self, left: int) -> None:
        """Let another thread go on with what is left when nothing was done since `left` were."""
        if not self._to_compare:
            return
        if len(self._to_compare) == left and len(self._comparing) < _MAX_HELD_UP:
            self._begin_thread()
        else:
            self._relieve_later()

    def _compare(self, loop: asyncio.AbstractEventLoop) -> None:
        """Compare what is left of this poll, beside other threads that do not get on."""
        with contextlib.suppress(IndexError, RuntimeError):  # nothing is left, or the loop has ended
            while True:
                lookout, base_path, names = self._to_compare.pop()
                self._comparing.add(lookout)
                try:
                    is_new = not _holds(base_path, names)
                finally:
                    self._comparing.discard(lookout)
                if is_new:
                    loop.call_soon_threadsafe(_look, lookout)


def _look(lookout: Lookout) -> None:
    if not lookout.closed:
        lookout.begin_look()


def _holds(base_path: str, names: frozenset[str]) -> bool:
    """Whether the directory `base_path` holds exactly `names`; not when that cannot be told, a look tells why."""
    try:
        return scan.names_in(base_path or ".") == names
    except Exception:
        return False
