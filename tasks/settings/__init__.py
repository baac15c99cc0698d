"""Frozen settings of a recipe, by what they describe."""
