"""Small models of published results, to be run beside what the papers say they show."""
