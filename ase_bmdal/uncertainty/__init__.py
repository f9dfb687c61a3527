"""From a prediction to a bound on its error, and whether to go on with it."""
