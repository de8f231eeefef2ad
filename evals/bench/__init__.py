"""Benchmarks: each file measures one thing with ``run(out_dir)``, which gives rows one by one or together. `loupe bench
NAME` runs it, writes all rows to a file and prints them, of rows too long for a terminal the columns in the file's
``SHOWN``."""
