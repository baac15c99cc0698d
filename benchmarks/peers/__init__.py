"""What the engine's benchmarks compare with; each peer runs the same model on the same numbers."""
