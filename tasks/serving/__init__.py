"""Answers for people whom nobody trained on: scores, decisions and reasons, live or by the file."""
