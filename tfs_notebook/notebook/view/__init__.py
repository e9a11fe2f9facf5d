"""A server's state on the page."""
