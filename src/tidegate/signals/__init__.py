"""Estimators outside the core: what they find enters as journalled signals, clamped inside."""
