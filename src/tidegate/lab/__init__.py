"""Models in floating point: what the literature computes, for the lab and for comparison."""
