"""TensorFlow Serving's metrics, and Prometheus's text of them."""
