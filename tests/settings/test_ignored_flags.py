"""TensorFlow Serving's flags without an effect here."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tfs_notebook.options import FLAGS
from tfs_notebook.settings.ignored_flags import ACCEPTED_FLAGS, KNOWN_FLAGS, without_accepted

# name: (type, default, another value) as in TensorFlow Serving
TENSORFLOW_SERVINGS: dict[str, tuple[type, Any, str]] = {
    "flush_filesystem_caches": (bool, True, "false"),
    "use_alts_credentials": (bool, False, "true"),
    "platform_config_file": (str, "", "/platforms.pbtxt"),
    "remove_unused_fields_from_bundle_metagraph": (bool, True, "false"),
    "num_tflite_pools": (int, os.cpu_count(), "1000"),
    "num_tflite_interpreters_per_pool": (int, 1, "2"),
    "xla_cpu_compilation_enabled": (bool, False, "true"),
    "xla_gpu_compilation_enabled": (bool, False, "true"),
    "enable_profiler": (bool, True, "false"),
    "thread_pool_factory_config_file": (str, "", "/pools.pbtxt"),
    "mixed_precision": (str, "", "bfloat16"),
    "skip_initialize_tpu": (bool, False, "true"),
}


def test_no_flag_is_both_an_option_and_without_effect() -> None:
    assert ACCEPTED_FLAGS.keys() == TENSORFLOW_SERVINGS.keys()
    assert not ACCEPTED_FLAGS.keys() & FLAGS.keys()
    assert list(KNOWN_FLAGS) == [*FLAGS, *ACCEPTED_FLAGS]


@pytest.mark.parametrize("name", TENSORFLOW_SERVINGS)
def test_a_value_that_asks_for_something_is_told_in_one_line(name: str, caplog: pytest.LogCaptureFixture) -> None:
    flag_type, default, other = TENSORFLOW_SERVINGS[name]
    flag = ACCEPTED_FLAGS[name]
    assert (flag.type, flag.default, flag.own) == (flag_type, default, False)
    assert flag.help.startswith("Accepted without effect: ")
    assert without_accepted({"port": 1, name: default}) == {"port": 1}
    assert not caplog.records
    assert without_accepted({name: flag.parse(other), "port": 1}) == {"port": 1}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"--{name}={other} is accepted and has no effect here: ")
    assert "\n" not in record.getMessage()
