"""The outside, one file each: journals now; feeds, venues and chains as they come.

An adapter keeps a promise of `ports` and knows the domain. It may touch files, sockets and clocks;
it may not decide anything about accounts.
"""
