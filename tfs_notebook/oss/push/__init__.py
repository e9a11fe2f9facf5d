"""Models on their way to OSS."""
