"""The benchmark. docs/performance.md explains what it measures and lists the results."""
