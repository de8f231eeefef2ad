"""Benchmarks of what runs on a cluster; those of everything below are in `evals.bench`."""
