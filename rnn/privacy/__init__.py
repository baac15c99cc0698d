"""The private engine, its noise and its accounts."""
