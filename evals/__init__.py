"""How good: generated videos with exact truth, benchmark loaders and league tables."""
