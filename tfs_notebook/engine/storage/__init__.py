"""Which versions stand in a base path, and whether they are complete."""
