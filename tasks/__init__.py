"""One stage a file: pure functions and a thin main."""
