"""The typed client of the API: what a feed, a keeper or an operator needs, and no engine."""
