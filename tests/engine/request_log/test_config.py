from __future__ import annotations

import pytest

from tfs_notebook.engine.config import parse_config, validate_config
from tfs_notebook.engine.request_log.config import LoggingConfig
from tfs_notebook.errors import Code, ServingError

TO_FILES = "log_collector_config { filename_prefix: '/logs/m' }"


def parsed(fields: str) -> LoggingConfig | None:
    """The logging of a model whose configuration holds `fields`."""
    text = f"model_config_list {{ config {{ name: 'm' base_path: '/m' model_platform: 'tensorflow' {fields} }} }}"
    models = validate_config(parse_config(text))
    assert models is not None
    return models["m"].logging


def refusal(fields: str) -> ServingError:
    with pytest.raises(ServingError) as error:
        parsed(f"logging_config {{ {fields} }}")
    assert error.value.where == "model 'm'"
    return error.value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", None),
        (f"logging_config {{ {TO_FILES} }}", LoggingConfig("/logs/m", 0.0)),
        (f"logging_config {{ {TO_FILES} sampling_config {{ sampling_rate: 1 }} }}", LoggingConfig("/logs/m", 1.0)),
        (
            (
                "logging_config { log_collector_config { type: 'file' filename_prefix: 'here/' } "
                "sampling_config { sampling_rate: 0.25 attributes: 3 } }"
            ),
            LoggingConfig("here/", 0.25),
        ),
    ],
)
def test_what_is_logged_and_where(fields: str, expected: LoggingConfig | None) -> None:
    assert parsed(fields) == expected


@pytest.mark.parametrize("rate", ["-0.1", "1.5", "nan", "inf"])
def test_a_rate_that_is_no_probability(rate: str) -> None:
    error = refusal(f"{TO_FILES} sampling_config {{ sampling_rate: {rate} }}")
    assert (error.code, error.message) == (
        Code.INVALID_ARGUMENT,
        f"Model m: sampling_rate is a probability from 0 to 1, not {float(rate):g}",
    )
    assert "sampling_rate: 0.01" in error.hint


@pytest.mark.parametrize(
    "fields", ["", "sampling_config { sampling_rate: 1 }", "log_collector_config { type: 'file' }"]
)
def test_nowhere_to_write(fields: str) -> None:
    assert refusal(fields).message == "Model m: logging_config needs a filename_prefix in its log_collector_config"


def test_a_collector_that_does_not_exist() -> None:
    error = refusal("log_collector_config { type: 'kafka' filename_prefix: '/logs/m' }")
    assert (error.code, error.message) == (Code.NOT_FOUND, "Cannot find LogCollector::Factory for type: kafka")
    assert error.hint == "The type is 'file', or unset."


def test_a_custom_config() -> None:
    error = refusal(f"{TO_FILES} custom_logging_config {{ type_url: 'a/b' }}")
    assert error.message == "Model m: custom_logging_config is not supported"
