"""Serving without a protocol: models, versions, labels and calls. Knows no HTTP, gRPC, IPython or OSS."""
