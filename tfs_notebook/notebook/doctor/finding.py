"""One thing that is wrong, or soon will be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is about, what is wrong with it, and what to do; each of them one line."""

    about: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.about}: {self.problem}. {self.remedy}"


def one_line(text: str) -> str:
    """`text` without its line breaks, and without the full stop at its end."""
    return " ".join(text.split()).removesuffix(".")
