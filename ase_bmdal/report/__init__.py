"""A finished or running simulation, read from its run folder: tables as text, figures as PNG."""
