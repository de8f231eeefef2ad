"""Published ways to spend fewer visual tokens, one flat file each, named after the system."""
