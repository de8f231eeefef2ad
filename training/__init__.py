"""How models are made: recipes for the small shipped models."""
