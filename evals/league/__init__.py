"""The league table: every method of `tools.vlm.methods` on the same questions, at the same budgets."""
