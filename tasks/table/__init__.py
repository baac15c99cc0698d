"""The user's table: read it, encode it by public bounds, split it, write it as arrays."""
