"""The decision where a call runs, at each threshold of both protocols."""

from __future__ import annotations

import pytest

from tfs_notebook.api.dispatch.place import Place, place
from tfs_notebook.api.dispatch.thresholds import GRPC, REST, CallLimits

JUST_UNDER = 0.999


@pytest.mark.parametrize(
    ("seconds", "limits", "alone", "where"),
    [
        (REST.alone_seconds * JUST_UNDER, REST, True, Place.AT_ONCE),
        (REST.alone_seconds, REST, True, Place.THREADS),
        (REST.in_turn_seconds * JUST_UNDER, REST, False, Place.IN_TURN),
        (REST.in_turn_seconds, REST, False, Place.THREADS),
        (GRPC.alone_seconds * JUST_UNDER, GRPC, True, Place.AT_ONCE),
        (GRPC.alone_seconds * JUST_UNDER, GRPC, False, Place.AT_ONCE),
        (GRPC.alone_seconds, GRPC, True, Place.THREADS),
        (None, REST, True, Place.POOL),
        (None, GRPC, False, Place.POOL),
    ],
)
def test_where_a_call_runs(seconds: float | None, limits: CallLimits, alone: bool, where: Place) -> None:
    assert place(seconds, limits, alone=alone, is_batched=False) is where


@pytest.mark.parametrize("limits", [REST, GRPC])
def test_a_call_that_waits_for_others_holds_no_thread(limits: CallLimits) -> None:
    assert place(None, limits, alone=True, is_batched=True) is Place.BATCH
