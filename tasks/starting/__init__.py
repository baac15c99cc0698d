"""Weights that others trained: brought, checked against this recipe's people, put in place."""
