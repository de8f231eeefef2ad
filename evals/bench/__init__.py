"""Benchmarks: each file measures one thing with ``run(out_dir) -> rows``; `loupe bench NAME` runs it."""
