"""The download of a version's files."""
