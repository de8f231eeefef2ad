"""The nano model: a small vision-language model trained on drawn scenes. ``python -m training.nano`` makes it."""
