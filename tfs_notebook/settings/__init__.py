"""What was asked for: options, files and paths, checked before anything starts."""
