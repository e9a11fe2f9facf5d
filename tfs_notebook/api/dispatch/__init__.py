"""Where a call runs: on the thread it came by, on one of few, or with others in a batch."""
