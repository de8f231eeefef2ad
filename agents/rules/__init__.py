"""What the rules know: parsing questions, resolving anchors, matching evidence, extracting answers. No model."""
