"""Vision-language models: one explicit pipeline over unmodified transformers classes."""
