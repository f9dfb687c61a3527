"""Atoms, their neighbours and labels, as the padded arrays the potential computes with (NumPy only)."""
