"""Metrics in Prometheus's text format, spelt as TensorFlow Serving's PrometheusExporter spells them.

Names are slash paths with colons for the slashes, braces are always there, bounds and sums have six digits, and there
are no HELP lines. A line feed in a label value is escaped, which is not done there, and ends the page for its reader.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING

from tfs_notebook.engine.metrics.counters import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tfs_notebook.engine.metrics.counters import Labels

_OUTSIDE_OF_NAMES = re.compile("[^a-zA-Z0-9_]")
_OUTSIDE_OF_LABELS = re.compile("[^a-zA-Z0-9]")
_HERE = "\0"
"""Stands for the labels of a series, whose values have none."""
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def metrics_text(metrics: Iterable[Counter | Histogram], unfed: Mapping[str, str]) -> str:
    """The page: `metrics`, and the type alone of those which nothing feeds (`unfed`, name → type), by name."""
    pages = {name: [f"# TYPE {_exported(name)} {kind}"] for name, kind in unfed.items()}
    pages |= {metric.name: list(_counter(metric)) for metric in metrics if isinstance(metric, Counter)}
    pages |= {metric.name: list(_histogram(metric)) for metric in metrics if isinstance(metric, Histogram)}
    return "".join(f"{line}\n" for _, lines in sorted(pages.items()) for line in lines)


def _counter(counter: Counter) -> Iterator[str]:
    name = _exported(counter.name)
    yield f"# TYPE {name} counter"
    for values, count in counter.counts().items():
        yield f"{name}{{{_labels(counter.labels, values)}}} {count}"


def _histogram(histogram: Histogram) -> Iterator[str]:
    yield f"# TYPE {_exported(histogram.name)} histogram"
    form = _series_form(histogram)
    for values, distribution in histogram.distributions().items():
        cumulative = tuple(accumulate(distribution.buckets))
        series = form % (*cumulative, distribution.total, cumulative[-1])
        yield series.replace(_HERE, _labels(histogram.labels, values))


def _series_form(histogram: Histogram) -> str:
    """The lines of a series, to be filled with its numbers and then its labels: most of a page is these."""
    name, labels = _exported(histogram.name), f"{_HERE}," if histogram.labels else ""
    bounds = [*(f"{bound:.6g}" for bound in histogram.bounds), "+Inf"]
    buckets = "".join(f'{name}_bucket{{{labels}le="{bound}"}} %d\n' for bound in bounds)
    return f"{buckets}{name}_sum{{{_HERE}}} %.6g\n{name}_count{{{_HERE}}} %d"


def _exported(name: str) -> str:
    return _OUTSIDE_OF_NAMES.sub(":", name)


def _labels(names: Labels, values: Labels) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{_OUTSIDE_OF_LABELS.sub("_", name)}="{value.translate(_ESCAPES)}"' for name, value in pairs)
