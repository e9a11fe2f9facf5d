"""The running server: what it serves, where it listens, and how both are changed."""
