"""Ctrl-C during a magic, told in one line: a traceback takes seconds while TensorFlow is being imported."""

from __future__ import annotations


class Interrupted(KeyboardInterrupt):
    """What a magic that was interrupted ends in; the text says what came of it."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


Interrupted.__name__ = "KeyboardInterrupt"  # what front ends know
