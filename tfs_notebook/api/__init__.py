"""The front ends: they translate bytes and know no TensorFlow session."""
