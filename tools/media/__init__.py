"""Time, views and pixels: everything that turns a file into spans, frames and sound."""
