"""The benchmark: what it measures and what came of it is in docs/performance.md."""
