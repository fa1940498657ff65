"""Worlds: laws of weather that fall on any book, from a geometric Brownian to a recorded crash."""
