"""A cheap method that a potential learns the difference to."""
