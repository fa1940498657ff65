"""The field's own numbers: one adapter a peer system, from vectors to public kernels."""
