from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.notebook.conftest import Notebook


@pytest.mark.parametrize(
    ("line", "expression", "given"),
    [
        ("half x[:24]", "x[:24]", {"model": "half"}),
        ("half x[:24] --truth y", "x[:24]", {"truth": "y"}),
        ("--truth=y --via rest half x[:24]", "x[:24]", {"truth": "y", "via": "rest"}),
        ("half --version {number} {'x': x, 'b': 1}", "{'x': x, 'b': 1}", {"version": [3]}),
        ("half {'x': [1, 2]} --label $name", "{'x': [1, 2]}", {"label": ["canary"]}),
        ("half --classes ['a b', 'c'] f(x, 2) / 255", "f(x, 2) / 255", {"classes": "['a b', 'c']"}),
        ("half --truth y[x > 1] x - -1", "x - -1", {"truth": "y[x > 1]"}),
        ("half '--via' # a comment", "'--via'", {"via": "local"}),
        ("'team/cnn 100%' x;", "x", {"model": "team/cnn 100%"}),
        ("half x['a # b'] ;", "x['a # b']", {"model": "half"}),
        (r"half f('it\'s') --out=got", r"f('it\'s')", {"out": "got"}),
    ],
)
def test_options_stand_before_or_after_the_expression(
    notebook: Notebook, line: str, expression: str, given: dict[str, object]
) -> None:
    from tfs_notebook.notebook.predict.line import read_line

    magic = notebook.shell.magics_manager.registry["ServingMagics"].tfs_predict
    found = read_line(magic, line, {"number": 3, "name": "canary", "x": 1})
    assert found.expression == expression
    assert {name: getattr(found.arguments, name) for name in given} == given


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("half x --trut y", "unknown option --trut; did you mean --truth?"),
        ("half x --truth", "--truth needs a value"),
        ("half x[:24", "A bracket [ is not closed in: half x[:24"),
        ("half 'x", "A quote is not closed in: half 'x"),
        ("half", "What is half to be asked? %tfs_predict half x[:24]"),
        ("half x y", "nor a Python expression"),
        ("half [1.0] --plot pie", "invalid choice: 'pie'"),
    ],
)
def test_a_line_that_cannot_be_meant(asking: Notebook, line: str, said: str) -> None:
    asking["x"] = asking["y"] = [1.0]
    assert said in asking.refuse(f"%tfs_predict {line}")


def test_a_line_asks_as_a_cell_does(asking: Notebook) -> None:
    asking["x"] = [1.0, 2.0, 3.0]
    answer = asking.run("%tfs_predict half --label stable x[:2] --out got")
    assert answer.value.tolist() == asking["got"].tolist() == [2.5, 3.0]
    assert (answer.label, answer.version) == ("stable", 1)
    assert asking.run("answer = %tfs_predict half {'x': x}") is None
    assert asking["answer"].predictions == [2.5, 3.0, 3.5]
    refused = asking.refuse("%%tfs_predict half x\n[1.0]")
    assert "unexpected argument 'x': in a %%tfs_predict cell the body is asked" in refused


def test_a_name_that_is_no_variable_is_told_in_one_line(asking: Notebook) -> None:
    asking["images"] = [1.0]
    for cell in ("%tfs_predict half imges", "%%tfs_predict half\nimges", "%tfs_predict half images --truth imges"):
        with pytest.raises(NameError) as undefined:
            asking.run(cell)
        line = "NameError: name 'imges' is not defined. Did you mean 'images'?"
        assert undefined.value._render_traceback_() == [line]  # type: ignore[attr-defined]


def test_an_undefined_name_in_a_function_keeps_its_traceback(asking: Notebook) -> None:
    asking.run("def rows():\n    return nowhere")
    with pytest.raises(NameError) as undefined:
        asking.run("%tfs_predict half rows()")
    assert not hasattr(undefined.value, "_render_traceback_")
