"""Ways to turn the crank: recordings, replays, the simulated venue, named randomness."""
