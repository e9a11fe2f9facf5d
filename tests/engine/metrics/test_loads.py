from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.parts import Loads
from tfs_notebook.engine.metrics.loads import CountedLoad, LoadCounts


def test_attempts_are_counted_by_path_and_outcome() -> None:
    good, bad = Path("/m/1"), Path("/m/2")
    load, counts = Loads(), LoadCounts()
    load.faults[bad] = [OSError("gone"), MemoryError()]
    counted = CountedLoad(load, counts)
    assert counted(good).signatures == {}
    for error in (OSError, MemoryError):
        with pytest.raises(error):
            counted(bad)
    counted(bad)
    assert load.begun == [good, bad, bad, bad]
    assert counts.attempts.counts() == {("/m/1", "success"): 1, ("/m/2", "fail"): 2, ("/m/2", "success"): 1}
    assert counts.micros.counts().keys() == {("/m/1",), ("/m/2",)}


def test_it_is_equal_to_what_loads_in_the_same_way() -> None:
    load = Loads()
    assert CountedLoad(load, LoadCounts()) == CountedLoad(load, LoadCounts())
    assert CountedLoad(load, LoadCounts()) != CountedLoad(Loads(), LoadCounts())
