"""One root in OSS and its local copy, kept in step."""
