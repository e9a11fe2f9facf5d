"""Loaded versions as the engine sees them, whatever kind of model they are."""
