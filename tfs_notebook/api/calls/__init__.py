"""Calls of a version: what is asked, what comes of it, and who is told when it ends."""
