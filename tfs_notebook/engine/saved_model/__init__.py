"""SavedModels: read, loaded into sessions of their own, and called."""
