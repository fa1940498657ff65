"""The words of the API: what may be asked and what is answered, shared by the service and clients.

Nothing here computes. Prices, quantities and amounts are decimal strings in the instrument's and
the asset's own units, exact in both directions; rates and ratios are numbers; times are integer
nanoseconds since the epoch, UTC.
"""
