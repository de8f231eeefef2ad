"""Making a video searchable: one pass over its sound and one over its pictures."""
