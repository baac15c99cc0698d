"""Kinds of targets that are sequences themselves; see base.py."""
