"""What the reports are made of: exhibits, words, drawings, templates."""
