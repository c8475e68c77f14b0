"""Ours: a regular package stands before those of the same name that other distributions install."""
