"""Algorithms that several methods share, each written once: pure functions on tensors, no model and no state."""
