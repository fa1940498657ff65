"""Stack files that come with the package, each a complete and commented example."""
