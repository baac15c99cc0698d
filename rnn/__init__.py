"""Recurrent models and their privacy: no files, no orchestration, no registry."""
