"""The page that tells what is the same as in TensorFlow Serving and what is not."""

from __future__ import annotations

import re
from pathlib import Path

from tfs_notebook.options import FLAGS
from tfs_notebook.settings.ignored_flags import ACCEPTED_FLAGS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "COMPATIBILITY.md").read_text()


def test_every_flag_without_effect_and_every_option_of_our_own_is_named() -> None:
    own = {name for name, flag in FLAGS.items() if flag.own}
    named = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    assert own <= named
    without_effect = next(line for line in PAGE.splitlines() if "`flush_filesystem_caches`" in line)
    assert set(re.findall(r"`([a-z_0-9]+)`", without_effect)) == set(ACCEPTED_FLAGS)


def test_every_row_says_same_or_different_or_not_there() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in PAGE.splitlines()
        if line.startswith("| ") and "TensorFlow Serving |" not in line
    ]
    assert len(rows) > 40
    for feature, verdict, why in rows:
        assert verdict.strip().removesuffix(" in `tfs-model-server`") in {"same", "different", "not there"}, feature
        assert verdict.strip() == "same" or why.strip(), f"{feature}: a difference has its reason"
