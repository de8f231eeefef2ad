"""Adapters to vision-language model families of transformers, one file each, named after the family."""
