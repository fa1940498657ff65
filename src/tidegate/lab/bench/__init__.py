"""Benchmarks: our figures beside other libraries' doing the same work in the same run.

`registry` knows which module measures what. A module has ``NAMES`` and ``measure(scale)``, which
checks that all answers are equal before anything is timed, and returns a `Result` for each name.
"""
