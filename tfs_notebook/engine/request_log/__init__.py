"""Some of a model's requests, written to TFRecord files."""
