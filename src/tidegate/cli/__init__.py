"""The command line: data on stdout, words on stderr, one exit code for each kind of failure."""

from tidegate.cli.main import main


__all__ = ["main"]
