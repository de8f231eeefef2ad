"""Profiles: which backend does which work, read from YAML."""
