"""Requests that run together, as behind TensorFlow Serving's --enable_batching."""
