"""Watching a served model: what is measured of new rows, and when to call somebody."""
