"""TFLite models as versions of a model."""
