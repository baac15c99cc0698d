"""What stages compute evidence with: figures, groups, suppression, attributions."""
