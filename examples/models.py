"""Trains the guide's model tree: modelA, modelB and modelC with one, two and three versions, and their config file.

`python examples/models.py [ROOT]` writes it in about half a minute:

    ROOT/model_config.pbtxt
    ROOT/modelA/1    ROOT/modelB/1, 2    ROOT/modelC/1, 2, 3

* Each version is a small convolutional classifier of grey images: `keras_tensor`: float[?, 28, 28, 1] → ten
  probabilities, `output_0`: float[?, 10]. A later version of a model has seen more images and does better.
* The images are scikit-learn's handwritten digits, so that nothing has to be downloaded.
* A version appears by a rename, so that a server polling the tree never finds half of one.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfs_notebook.runtime import without_tensorflow_notices

with without_tensorflow_notices():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()  # looks for a GPU now, and has its say about it

ROOT = Path(__file__).parent / "models"

CONFIG = """\
# One service for three models: the directory this file is in, mounted at /models.
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


@dataclass(frozen=True)
class ImageSplit:
    """Grey images, float32[n, 28, 28, 1] from 0 (black) to 1 (white), with their labels, int64[n] from 0 to 9."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """How much a version learns: the first `images` training images, `epochs` times over."""

    images: int
    epochs: int


RECIPES = {
    "modelA/1": Recipe(images=1437, epochs=15),
    "modelB/1": Recipe(images=250, epochs=5),
    "modelB/2": Recipe(images=1437, epochs=12),
    "modelC/1": Recipe(images=80, epochs=5),
    "modelC/2": Recipe(images=200, epochs=5),
    "modelC/3": Recipe(images=1437, epochs=20),
}


def load_images() -> ImageSplit:
    """The 1,797 digits of `sklearn.datasets.load_digits`, scaled up from 8 by 8: 1,437 to train on and 360 held out.

    The split is the same at every call, shuffled, and has every label in proportion.
    """
    digits = load_digits()
    images = zoom(digits.images / 16, (1, 28 / 8, 28 / 8), order=1).astype(np.float32)[..., np.newaxis]
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, digits.target.astype(np.int64), test_size=360, stratify=digits.target, random_state=0
    )
    return ImageSplit(train_images, train_labels, test_images, test_labels)


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """A classifier fitted to float[n, 28, 28, 1] `images` and int[n] `labels`; reseeds Keras to be repeatable."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1), name="keras_tensor")
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    features = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(features)
    probabilities = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(features))
    model = keras.Model(inputs, probabilities)
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=epochs, verbose=0)
    return model


def make_tree(root: Path) -> dict[str, float]:
    """Train every version and write the tree to `root`, replacing the versions there.

    Returns the share of the held-out images that each version, such as "modelA/1", classifies correctly.
    """
    split = load_images()
    accuracies = {}
    for name, recipe in RECIPES.items():
        model = train(split.train_images[: recipe.images], split.train_labels[: recipe.images], recipe.epochs)
        accuracies[name] = float(model.evaluate(split.test_images, split.test_labels, verbose=0)[1])
        write_version(model, root / name)
    write_config(root / "model_config.pbtxt")
    return accuracies


def write_version(model: keras.Model, directory: Path) -> None:
    """Export `model` as the SavedModel `directory`, by way of siblings whose names no server takes for versions."""
    writing, replaced = (directory.with_name(f".{directory.name}.{state}") for state in ("writing", "replaced"))
    for leftover in (writing, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    model.export(writing, verbose=False)
    if directory.exists():
        directory.rename(replaced)
    writing.rename(directory)
    shutil.rmtree(replaced, ignore_errors=True)


def write_config(path: Path) -> None:
    """Write the guide's config file in one step, for a server that polls it."""
    writing = path.with_name(f".{path.name}.writing")
    writing.write_text(CONFIG, encoding="utf-8")
    writing.replace(path)


def is_complete(root: Path) -> bool:
    """Whether `root` holds every version and the config file."""
    return (root / "model_config.pbtxt").exists() and all((root / name).is_dir() for name in RECIPES)


def main() -> None:
    """Make the tree unless it is there, and print how well each version does."""
    parser = argparse.ArgumentParser(description="Train the guide's modelA, modelB and modelC.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="where the tree goes (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="train again although the tree is complete")
    arguments = parser.parse_args()
    if is_complete(arguments.root) and not arguments.force:
        print(f"{arguments.root} is complete already; --force trains it again.")
        return
    print("Training on scikit-learn's load_digits, which needs no download, in place of Fashion-MNIST.")
    accuracies = make_tree(arguments.root)
    print(f"{'version':10}{'images':>8}{'epochs':>8}{'accuracy':>10}")
    for name, recipe in RECIPES.items():
        print(f"{name:10}{recipe.images:>8}{recipe.epochs:>8}{accuracies[name]:>10.3f}")
    print(f"Written to {arguments.root}.")


if __name__ == "__main__":
    main()
