"""The few pieces of HTML that every picture is made of.

Untrusted notebooks drop style sheets and SVG but keep styles of elements, GitHub drops both: every value is text, too.
Colours keep a contrast of three to one and more on white and on black; text has that of the page.
"""

from __future__ import annotations

import base64
from html import escape

ACCENT = "#3b82f6"
WRONG = "#e5484d"
_TRACK = "rgba(128,128,128,.22)"
_OTHERS = "rgba(128,128,128,.75)"


def clipped(text: str, length: int) -> str:
    """`text` in one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def label(text: str, length: int) -> str:
    """`text` clipped and escaped; all of it in a tooltip when something is left out."""
    short = clipped(text, length)
    return escape(short) if short == text else f'<span title="{escape(text[:500])}">{escape(short)}</span>'


def bar(share: float, *, width: int = 64, accent: bool = False) -> str:
    """A horizontal bar that is filled to `share`, 0 to 1."""
    filled = round(width * min(max(share, 0.0), 1.0)) if share == share else 0  # noqa: PLR0124 - NaN
    full = f'<span style="display:inline-block;width:{filled}px;height:9px;background:{ACCENT if accent else _OTHERS}">'
    return (
        f'<span style="display:inline-block;width:{width}px;height:9px;background:{_TRACK};line-height:0;'
        f'margin-right:6px">{full}</span></span>'
    )


def image(png: bytes, side: int, text: str) -> str:
    """A picture, `side` pixels high, each of its own pixels a square; `text` says what it is."""
    source = base64.b64encode(png).decode()
    return (
        f'<img src="data:image/png;base64,{source}" height="{side}" alt="{escape(text)}" '
        f'style="image-rendering:pixelated;height:{side}px;max-width:none;margin:0;display:inline-block">'
    )


def box(content: str, *, wrong: bool = False) -> str:
    """One example of several, that stand side by side as far as the page is wide; with a frame when it is `wrong`."""
    border = WRONG if wrong else "rgba(128,128,128,.25)"
    return (
        '<div style="display:inline-block;vertical-align:top;margin:0 8px 8px 0;padding:6px;'
        f'white-space:nowrap;min-width:246px;border:{2 if wrong else 1}px solid {border}">{content}</div>'
    )


def beside(content: str) -> str:
    """Lines that stand to the right of a picture."""
    return (
        '<div style="display:inline-block;vertical-align:top;margin-left:8px;font-size:12px;line-height:17px;'
        f'text-align:left">{content}</div>'
    )


def line(content: str, *, small: bool = False) -> str:
    """A line of text."""
    return f'<div style="font-size:{12 if small else 13}px;line-height:18px;margin:0 0 6px 0">{content}</div>'


def whole(*parts: str) -> str:
    """The picture of an answer."""
    return f'<div style="padding:2px 0">{"".join(parts)}</div>'
