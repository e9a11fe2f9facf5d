"""The one line above the table, as a newcomer reads it."""

from __future__ import annotations

from tests.notebook.view.test_table import BROKEN, model, status, version
from tfs_notebook.engine.events import State
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.notebook.view.summary import summary

MISSING = ServingError(Code.NOT_FOUND, "Could not find base path /m")
END = "; details below (%tfs_status)"


def test_what_is_wrong_is_counted_by_its_kind() -> None:
    good = model("good", version(1))
    assert summary(status(good)) == ""
    assert summary(status(*(model(name, problem=MISSING) for name in "abc"))) == f"3 of 3 models not found{END}"
    failed = model("failed", version(1, State.END, BROKEN))
    assert summary(status(good, failed)) == f"1 of 2 models failed to load{END}"
    newer = model("newer", version(2, State.LOADING, BROKEN), version(1))
    waiting = model("waiting", waiting={1: "saved_model.pb is missing"})
    assert summary(status(good, newer, waiting, model("gone", problem=MISSING))) == (
        "1 of 4 models with a version that failed to load, 1 waiting for files of a version, 1 not found" + END
    )
    labelled = model("labelled", version(1), label_problem=MISSING)
    assert summary(status(labelled)) == f"1 of 1 model with labels that are not in force{END}"


def test_what_is_wrong_with_the_server_is_counted_besides() -> None:
    assert summary(status(config_problem=BROKEN)) == f"1 problem{END}"
    both = status(model("a", problem=MISSING), config_problem=BROKEN, logging_problems=(MISSING, MISSING))
    assert summary(both) == f"1 of 1 model not found, 3 other problems{END}"
