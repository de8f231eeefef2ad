"""Who thinks: planning, looking, judging, verifying and answering within a budget."""
