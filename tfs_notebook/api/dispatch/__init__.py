"""Where a call runs, for REST and gRPC: `thresholds` explains it, `place` decides, the others carry it out."""
