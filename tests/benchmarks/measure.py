"""What a benchmark reports: a figure beside its floor, both from this run, and the bound that their ratio keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7


@dataclass(frozen=True)
class Measure:
    """`value` and `floor` in `unit`; `bound` is what the value is held to, in words; `kept` whether it is, None where
    nothing is promised.
    """

    name: str
    value: float
    floor: float | None
    unit: str
    bound: str
    kept: bool | None

    def __str__(self) -> str:
        floor = "" if self.floor is None else f"{self.floor:,.4g} {self.unit}"
        ratio = "" if not self.floor else f"{self.value / self.floor:.2f} ×"
        shown = f"{self.value:,.4g} {self.unit}"
        judged = {True: "kept", False: "MISSED", None: ""}[self.kept]
        return f"{self.name:<58} {shown:>16} {floor:>16} {ratio:>8}  {self.bound:<16} {judged}".rstrip()


def in_turn(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """Two measurements taken in turn, so that a change of the machine's speed meets both: the round whose ratio is the
    middle one.
    """
    return middle([(first(), second()) for _ in range(ROUNDS)])


def middle(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """The round whose ratio is the middle one."""
    return sorted(rounds, key=lambda pair: pair[0] / pair[1])[len(rounds) // 2]


def told(name: str, value: float, floor: float, unit: str) -> Measure:
    """A figure that shows what this machine allows, for those beside it."""
    return Measure(name, value, floor, unit, "", None)


def at_most(name: str, value: float, floor: float, unit: str, ratio: float) -> Measure:
    """A figure that may be `ratio` times its floor."""
    return Measure(name, value, floor, unit, f"at most {ratio:g} ×", value <= ratio * floor)


def at_least(name: str, value: float, floor: float, unit: str, ratio: float) -> Measure:
    """A figure that must reach `ratio` times its floor."""
    return Measure(name, value, floor, unit, f"at least {ratio:g} ×", value >= ratio * floor)


def below(name: str, value: float, limit: float, unit: str) -> Measure:
    """A figure with a limit of its own."""
    return Measure(name, value, None, unit, f"under {limit:g} {unit}", value < limit)
