"""Histories that have not happened: worlds, agents, paths, what the venue would lose in them.

It also holds what the literature computes in floating point, for the lab and for comparison.
"""
