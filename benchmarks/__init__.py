"""One script a figure of docs/benchmarks.md."""
