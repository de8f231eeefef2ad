"""Videos of any length drawn from a seeded script, with the exact truth of what was said, written and shown."""
