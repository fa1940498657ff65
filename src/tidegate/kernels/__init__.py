"""The arithmetic: compiled integer functions over columns. No objects, no policy, no I/O."""
