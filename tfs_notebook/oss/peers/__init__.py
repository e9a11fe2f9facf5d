"""Several kernels that share one local copy."""
