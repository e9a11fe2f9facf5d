from __future__ import annotations

import pytest

from tfs_notebook.engine.config import (
    AllVersions,
    Latest,
    ModelConfig,
    Specific,
    VersionPolicy,
    parse_config,
    validate_config,
)
from tfs_notebook.errors import Code, ServingError

GUIDE = """\
model_config_list {
  config {
    name: 'modelA'
    base_path: '/models/modelA/'
    model_platform: 'tensorflow'
    model_version_policy {
      all {}
    }
  }
  config {
    name: 'modelB'
    base_path: '/models/modelB/'
    model_platform: 'tensorflow'
    model_version_policy {
      specific {
        versions: 1
        versions: 2
      }
    }
    version_labels {
      key: 'stable'
      value: 1
    }
    version_labels {
      key: 'canary'
      value: 2
    }
  }
  config {
    name: 'modelC'
    base_path: '/models/modelC/'
    model_platform: 'tensorflow'
    model_version_policy {
      latest {
        num_versions: 2
      }
    }
  }
}
"""
A = "name: 'a' base_path: '/a' model_platform: 'tensorflow'"
SERVING_A = {"a": ModelConfig("a", "/a")}


def models(text: str, current: dict[str, ModelConfig] | None = None) -> dict[str, ModelConfig]:
    """The models of a config list whose entries are `text`."""
    validated = validate_config(parse_config(f"model_config_list {{ {text} }}"), current)
    assert validated is not None
    return validated


def refusal(text: str, current: dict[str, ModelConfig] | None = None) -> ServingError:
    with pytest.raises(ServingError) as error:
        validate_config(parse_config(text), current)
    return error.value


def test_the_guides_config() -> None:
    validated = validate_config(parse_config(GUIDE))
    assert validated == {
        "modelA": ModelConfig("modelA", "/models/modelA/", policy=AllVersions()),
        "modelB": ModelConfig("modelB", "/models/modelB/", policy=Specific((1, 2)), labels={"stable": 1, "canary": 2}),
        "modelC": ModelConfig("modelC", "/models/modelC/", policy=Latest(2)),
    }
    assert [str(model.policy) for model in validated.values()] == ["all", "specific 1, 2", "latest 2"]


# Text format


@pytest.mark.parametrize(
    "text",
    [
        f"model_config_list {{ config {{ {A} }} }}",
        f"model_config_list: {{ config: {{ {A} }} }}",
        "model_config_list{config:{name:'a',base_path:'/a',model_platform:'tensorflow',}}",
        "model_config_list{config{name:'a';base_path:'/a';model_platform:'tensorflow';};}",
        f"model_config_list < config < {A} > >",
        f"model_config_list {{ config: [ {{ {A} }} ] }}",
        f"# models\nmodel_config_list {{ # all\n  config {{\n {A} # this one\n }}\n}}\n# end",
        "model_config_list { config { name: \"a\" base_path: '/' 'a' model_platform: 'tensor' 'flow' } }",
        "\r\nmodel_config_list {\r\n config {\r\n name: '\\141' base_path: '\\x2fa' model_platform: 'tensorflow' } }",
    ],
    ids=["blanks", "colons", "commas", "semicolons", "angles", "list", "comments", "joined-strings", "escapes"],
)
def test_every_spelling_of_text_format_means_the_same(text: str) -> None:
    assert validate_config(parse_config(text)) == SERVING_A


@pytest.mark.parametrize(
    ("text", "position", "reason", "pointer"),
    [
        (
            "model_config_list {\n  config {\n    nmae: 'a'\n  }\n}",
            "3:5",
            'Message type "tensorflow.serving.ModelConfig" has no field named "nmae".',
            "    nmae: 'a'\n    ^",
        ),
        (
            "model_config_list { config {\n\tbase_path: 3 } }",
            "2:13",
            "Expected string but found: '3'",
            "\tbase_path: 3 } }\n\t           ^",
        ),
        ("model_config_list {\n  config {", "2:10", 'Expected "}".', "  config {\n         ^"),
        ("model_config_list }", "1:19", 'Expected "{".', "model_config_list }\n                  ^"),
        ("model_config_list { config { name: 'a } }", "1:36", "String missing ending quote", "'a } }"),
        ("model_config_list { config { name: '\\xff' } }", "1:43", "can't decode byte 0xff", "'\\xff'"),
        (
            "model_config_list { config { model_version_policy { latest {} all {} } } }",
            "1:63",
            'Field "all" is specified along with field "latest"',
            "all {} } } }\n" + " " * 62 + "^",
        ),
        ("model_config_list { config { version_labels { key: 'x' value: 99999999999999999999 } } }", "1:63",
         "Value out of range: 99999999999999999999", "99999999999999999999"),
        ("model_config_list { config { model_type: TENSORFLOWS } }", "1:42",
         "has no value named TENSORFLOWS", "TENSORFLOWS"),
        ('{"model_config_list": {}}', "1:1", "Expected identifier", '{"model_config_list": {}}\n^'),
    ],
    ids=["unknown-field", "wrong-type-and-tab", "unclosed", "unopened", "quote", "utf-8", "two-policies", "int64",
         "enum", "json"],
)  # fmt: skip
def test_a_syntax_error_says_where_and_shows_the_line(text: str, position: str, reason: str, pointer: str) -> None:
    with pytest.raises(ServingError) as error:
        parse_config(text, "models.config")
    assert error.value.code is Code.INVALID_ARGUMENT
    start = f"Error parsing text-format tensorflow.serving.ModelServerConfig: {position}: "
    assert error.value.message.startswith(start)
    assert reason in error.value.message.removeprefix(start)
    assert error.value.where == f"models.config:{position}"
    assert pointer in error.value.hint


def test_a_long_line_is_shown_around_its_error() -> None:
    with pytest.raises(ServingError) as error:
        parse_config(f"model_config_list {{ config {{ {A} }} config {{ {A} }} config {{ oops: 1 }} }}")
    line, pointer, fields = error.value.hint.split("\n")
    assert len(line) <= 120
    assert line[pointer.index("^") :].startswith("oops: 1")
    assert fields.startswith("ModelConfig has name, base_path, model_type, model_platform, ")


def test_the_nearest_field_is_named() -> None:
    with pytest.raises(ServingError) as error:
        parse_config("model_config_list { config { version_label { key: 'a' value: 1 } } }")
    assert error.value.hint.endswith("\nDid you mean version_labels?")


# What a config means


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", Latest(1)),
        ("model_version_policy {}", Latest(1)),
        ("model_version_policy { latest {} }", Latest(1)),
        ("model_version_policy { latest { num_versions: 0 } }", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { all {} }", AllVersions()),
        ("model_version_policy { specific { versions: 2 versions: 1 versions: -1 } }", Specific((2, 1, -1))),
        ("model_version_policy { specific { versions: [4, 5] } }", Specific((4, 5))),
        ("model_version_policy { specific {} }", Specific(())),
    ],
)
def test_policies(policy: str, expected: VersionPolicy) -> None:
    assert models(f"config {{ {A} {policy} }}")["a"].policy == expected


def test_labels_and_the_last_of_a_label_given_twice() -> None:
    given = [("x", 1), ("y", -2), ("x", 3)]
    labels = " ".join(f"version_labels {{ key: '{label}' value: {version} }}" for label, version in given)
    assert models(f"config {{ {A} {labels} }}")["a"].labels == {"x": 3, "y": -2}


@pytest.mark.parametrize("base_path", ["/", "/a b", "gs://bucket/a", "hdfs://host:1/a", "s3://b", "oss://bucket/a/"])
def test_absolute_paths_and_uris_are_accepted(base_path: str) -> None:
    validated = models(f"config {{ name: 'a' base_path: '{base_path}' model_platform: 'tensorflow' }}")
    assert validated["a"].base_path == base_path


def test_the_deprecated_type_still_means_tensorflow() -> None:
    assert models("config { name: 'a' base_path: '/a' model_type: TENSORFLOW }") == SERVING_A


@pytest.mark.parametrize("name", ["", "a/b", "ü", "a b"])
def test_any_name_is_accepted(name: str) -> None:
    assert list(models(f"config {{ name: '{name}' base_path: '/a' model_platform: 'tensorflow' }}")) == [name]


def test_a_config_without_list_is_nothing_to_do_and_an_empty_list_is_no_models() -> None:
    assert validate_config(parse_config("")) is None
    assert validate_config(parse_config("# nothing"), SERVING_A) is None
    assert validate_config(parse_config("model_config_list {}"), SERVING_A) == {}


# Refusals, in the order of TensorFlow Serving's checks


def test_a_list_cannot_become_a_custom_config() -> None:
    error = refusal("custom_model_config {}", SERVING_A)
    assert str(error) == (
        "FAILED_PRECONDITION: Cannot transition to requested config. It is only legal to transition from one "
        "ModelConfigList to another."
    )
    assert str(refusal("custom_model_config {}")) == (
        "INVALID_ARGUMENT: ModelServer does not yet support custom model config."
    )


BOTH = "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform"
NEITHER = "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (f"config {{ {A} }} config {{ {A} }}", "Illegal to list model a multiple times in config list"),
        ("config {} config {}", "Illegal to list model  multiple times in config list"),
        ("config { name: 'a' base_path: 'models/a' model_platform: 'tensorflow' }",
         "Expected model a to have an absolute path or URI; got base_path()=models/a"),
        ("config { name: 'a' model_platform: 'tensorflow' }",
         "Expected model a to have an absolute path or URI; got base_path()="),
        ("config { name: 'a' base_path: '://a' model_platform: 'tensorflow' }",
         "Expected model a to have an absolute path or URI; got base_path()=://a"),
        (f"config {{ {A} model_type: TENSORFLOW }}", f"{BOTH}, model name is a"),
        ("config { name: 'a' base_path: '/a' }", f"{NEITHER}, model name is a"),
        ("config { name: 'a' base_path: '/a' model_type: OTHER }",
         "ModelServerConfig::model_type choice 2 not supported."),
        ("config { name: 'a' base_path: '/a' model_platform: 'pytorch' }",
         "Model a requests unsupported platform pytorch"),
        ("config { name: 'a' base_path: '/a' model_platform: 'TensorFlow' }",
         "Model a requests unsupported platform TensorFlow"),
    ],
    ids=["twice", "twice-nameless", "relative", "no-path", "no-scheme", "both", "neither", "other", "platform", "case"],
)  # fmt: skip
def test_refusals(entries: str, message: str) -> None:
    error = refusal(f"model_config_list {{ {entries} }}")
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


def test_a_models_platform_cannot_change() -> None:
    error = refusal("model_config_list { config { name: 'a' base_path: '/a' model_platform: 'x' } }", SERVING_A)
    assert str(error) == (
        "INVALID_ARGUMENT: Illegal to change a model's platform. For model a platform was tensorflow "
        "and new platform requested is x"
    )


@pytest.mark.parametrize(
    ("entries", "start"),
    [
        (["name: 'a' base_path: 'r'", "name: 'a'"], "Illegal to list model a multiple times"),
        (["name: 'n' base_path: '/n'", "name: 'm' base_path: 'r'"], "Expected model m to have an absolute path"),
        (["name: 'n' base_path: '/n'", "name: 'a' base_path: '/a' model_platform: 'x'"],
         "Illegal to change a model's platform."),
        (["name: 'n' base_path: '/n'", "name: 'a' base_path: '/a'"], "Illegal setting neither"),
        (["name: 'n' base_path: '/n' model_platform: 'x'", "name: 'm' base_path: '/n'"], "Illegal setting neither"),
    ],
    ids=["names-first", "then-paths", "then-changes-of-known-models", "kinds-of-known-models", "then-new-models"],
)  # fmt: skip
def test_of_several_faults_the_first_in_order_is_told(entries: list[str], start: str) -> None:
    text = " ".join(f"config {{ {entry} }}" for entry in entries)
    assert refusal(f"model_config_list {{ {text} }}", SERVING_A).message.startswith(start)


def test_refusals_say_what_to_write_instead() -> None:
    assert "whole path" in refusal("model_config_list { config { name: 'a' base_path: 'r' } }").hint
    assert "model_platform: 'tensorflow'" in refusal("model_config_list { config { base_path: '/a' } }").hint
