"""JSON bodies to tensors and tensors to JSON, as TensorFlow Serving reads and writes them."""
