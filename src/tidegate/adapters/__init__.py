"""The outside, one concern a file: journals, formats of exchanges and chains, public archives.

An adapter keeps a promise of `ports` and knows the domain. It may touch files, sockets and clocks;
it may not decide anything about accounts.
"""
