"""Mitigations inside private training: loss weights, an adversary, clipping by group."""
