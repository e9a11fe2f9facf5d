"""Labels, version policies, and which models are loaded: looked at, changed, saved and undone."""
