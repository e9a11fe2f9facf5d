"""How versions are loaded, as the options say: what stands around the loaders of SavedModels and TFLite models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfs_notebook.settings.batching import Batching, batching_parameters
from tfs_notebook.settings.session import session_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfs_notebook.api.metrics.metrics import Metrics
    from tfs_notebook.engine.models.servable import Servable
    from tfs_notebook.options import Options


class Loading:
    """Makes the loaders of one server, which share its batching scheduler."""

    def __init__(self, metrics: Metrics, wanted: Callable[[], bool]) -> None:
        """`metrics` has what counts loads, batches and warm-ups; no warm-up request is begun once `wanted` tells that
        none is.
        """
        self._batching = Batching(metrics.batches)
        self._metrics = metrics
        self._wanted = wanted

    def loader(self, options: Options) -> Callable[[Path], Servable]:
        """What loads the version in a directory: its model, batched, warmed up and counted.

        Equal ones load a version in the same way. Raises ServingError for files of the options that cannot be used.
        """
        from tfs_notebook.api.records import replay
        from tfs_notebook.engine.metrics.loads import CountedLoad
        from tfs_notebook.engine.models.warmup import WarmingLoader
        from tfs_notebook.engine.saved_model.loader import Loader
        from tfs_notebook.engine.tflite.servable import TFLiteLoader

        check_shapes = options.enable_input_shape_check
        saved_models = Loader(session_options(options), check_shapes)
        models = TFLiteLoader(saved_models, check_shapes) if options.prefer_tflite_model else saved_models
        parameters, per_model = batching_parameters(options), options.enable_per_model_batching_parameters
        warming = WarmingLoader(
            self._batching.around(models, parameters, per_model=per_model),
            replay,
            enabled=options.enable_model_warmup,
            iterations=max(options.num_request_iterations_for_warmup, 1),
            wanted=self._wanted,
            counts=self._metrics.warmups,
        )
        return CountedLoad(warming, self._metrics.loads)
