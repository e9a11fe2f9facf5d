"""What is said of a text whose braces do not fit, or that is no text format."""

from __future__ import annotations

import pytest

from tfs_notebook.engine.config import parse_config
from tfs_notebook.errors import ServingError

WITHOUT_THE_BRACE_OF_A_MODEL = """
model_config_list {
  config {
    name: 'a'  # a brace } in a comment
    base_path: '/models/{a}'
  config {
    name: 'b'
  }
}
"""
AT_THE_END = """
model_config_list {
  config {
    name: 'a'
    model_version_policy { all {} }
}
"""
WITHOUT_THE_BRACE_OF_A_POLICY = """
model_config_list {
  config {
    name: 'a'
    model_version_policy {
      specific { versions: 1 }
    version_labels { key: 'stable' value: 1 }
  }
}
"""


def test_a_name_in_a_cell_that_is_not_utf_8() -> None:
    with pytest.raises(ServingError) as caught:
        parse_config("model_config_list { config { name: 'm\udcf6' } }")
    assert caught.value.told.encode().count(rb"m\xf6") == 2


def hint(text: str) -> str:
    """The last line of what is told of `text`, after the offending line."""
    with pytest.raises(ServingError) as caught:
        parse_config(text)
    return caught.value.hint.split("\n")[-1].strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WITHOUT_THE_BRACE_OF_A_MODEL, "The block opened at 3:3 (config) is not closed."),
        (AT_THE_END, "The block opened at 3:3 (config) is not closed."),
        (WITHOUT_THE_BRACE_OF_A_POLICY, "The block opened at 5:5 (model_version_policy) is not closed."),
        ("model_config_list {\n  config {\n  }\n", "The block opened at 1:1 (model_config_list) is not closed."),
        ("model_config_list < config <", "The block opened at 1:21 (config) is not closed."),
        ("model_config_list { } }", "No block is open here: there is a closing brace too many, here or before."),
        ("model_config_list { config { name: a } }", "Text stands in quotes: 'a'"),
        ('{"model_config_list": {}}', "This is JSON; the text format has no outer braces and no quotes around names: "),
        ("model_config_list { configs { } }", "Did you mean config?"),
        ("model_config_list { model_config_list { } }", "The block opened at 1:1 (model_config_list) is not closed."),
        ("model_config_list { config { name: 'a', x { } } }", "ModelConfig has name, base_path, "),
    ],
)
def test_what_is_told(text: str, told: str) -> None:
    assert hint(text).startswith(told)
