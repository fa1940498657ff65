"""Ways to turn the crank: live, replays, recordings, the simulated venue, named randomness."""
