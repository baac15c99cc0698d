"""What served models of each kind of sequence answer; see table.py."""
