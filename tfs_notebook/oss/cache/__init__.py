"""The local copy of a root: complete versions where the engine looks, all else beside them."""
