"""Versions from their first sight to their end, and the labels that stand for them."""
