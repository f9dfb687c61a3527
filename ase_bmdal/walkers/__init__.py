"""One simulation: its predictions, what it doubts, and how it goes back."""
