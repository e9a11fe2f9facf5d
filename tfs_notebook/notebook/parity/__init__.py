"""`%tfs_parity`: the same rows through a model, its SavedModel, the engine, REST and gRPC."""
