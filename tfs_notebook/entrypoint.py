"""`tfs-serving-entrypoint`: what `tf_serving_entrypoint.sh` does in TensorFlow Serving's docker image."""

from __future__ import annotations

import os
import sys

from tfs_notebook import cli
from tfs_notebook.options import FLAGS, Flag

_GIVEN_BY_THE_IMAGE = {"rest_api_port", "model_name", "model_base_path"}
_VARIABLES = {
    name.upper(): flag
    for name, flag in FLAGS.items()
    if "_" in name and not flag.own and name not in _GIVEN_BY_THE_IMAGE  # PORT and the like mean other things
}


def arguments() -> list[str]:
    """The command line of `tfs-model-server`: the flags and the model of the environment, then whatever was given.

    The model is $MODEL_NAME (default `model`), its versions are in $MODEL_BASE_PATH/$MODEL_NAME (default `/models`). As
    in the image an empty one of these is no default, and a flag that is given wins. Each other flag of TensorFlow
    Serving with a name of several words can stand in the environment in capitals, like $MODEL_CONFIG_FILE; an empty one
    is none. Raises ValueError that names the variable whose value cannot be parsed.
    """
    name = os.environ.get("MODEL_NAME", "model")
    base_path = f"{os.environ.get('MODEL_BASE_PATH', '/models')}/{name}"
    further = [_argument(variable, flag) for variable, flag in _VARIABLES.items() if os.environ.get(variable)]
    image = ["--port=8500", "--rest_api_port=8501", f"--model_name={name}", f"--model_base_path={base_path}"]
    return [*image, *further, *sys.argv[1:]]


def _argument(variable: str, flag: Flag) -> str:
    text = os.environ[variable]
    try:
        flag.parse(text)
    except ValueError as error:
        raise ValueError(f"${variable} of the environment cannot be used: {error}") from None
    print(f"${variable} of the environment: --{flag.name}={text}", file=sys.stderr)
    return f"--{flag.name}={text}"


def run() -> None:
    """Serve as `tfs-model-server` does with `arguments`."""
    try:
        given = arguments()
    except ValueError as error:
        sys.exit(f"Failed to start server. {error}")
    cli.run(given)


if __name__ == "__main__":
    run()
