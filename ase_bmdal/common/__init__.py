"""What every layer may use: errors, settings, atomic files, named random streams."""
