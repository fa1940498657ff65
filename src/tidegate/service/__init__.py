"""The engine beside a running venue: its API, its streams, its keeper desk, its dashboard.

Only `runner` turns the crank, on one thread; everything else asks it. No rule about money lives
here: what may happen to an account is decided below, by the engine.
"""
