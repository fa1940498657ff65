"""Compiled arithmetic of the lab: floats over scenarios, and whole paths in exact integers."""
