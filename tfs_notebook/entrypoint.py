"""`tfs-serving-entrypoint`: what `tf_serving_entrypoint.sh` does in TensorFlow Serving's docker image."""

from __future__ import annotations

import os
import sys

from tfs_notebook import cli


def arguments() -> list[str]:
    """The command line of `tfs-model-server`: the model of the environment, then whatever was given.

    The model is $MODEL_NAME (default `model`), its versions are in $MODEL_BASE_PATH/$MODEL_NAME (default `/models`). As
    in the image an empty variable is no default, and a flag that is given wins over one of these.
    """
    name = os.environ.get("MODEL_NAME", "model")
    base_path = f"{os.environ.get('MODEL_BASE_PATH', '/models')}/{name}"
    ports = ["--port=8500", "--rest_api_port=8501"]
    return [*ports, f"--model_name={name}", f"--model_base_path={base_path}", *sys.argv[1:]]


def run() -> None:
    """Serve as `tfs-model-server` does with `arguments`."""
    cli.run(arguments())


if __name__ == "__main__":
    run()
