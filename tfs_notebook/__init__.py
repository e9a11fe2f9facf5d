"""TensorFlow Serving inside the notebook's own kernel."""

from __future__ import annotations

import logging

from tfs_notebook.errors import Code, ServingError

__version__ = "0.1.0"
__all__ = ["Code", "ServingError"]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # else warnings would appear in whatever cell runs
