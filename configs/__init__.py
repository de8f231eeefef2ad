"""Profiles: which parts Loupe is made of on this machine, as data."""

from configs.load import home_dir, load_profile, profile_names
from configs.profile import Profile

__all__ = ["Profile", "home_dir", "load_profile", "profile_names"]
