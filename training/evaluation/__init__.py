"""How good a model is, and how its space lies: measures, and warnings in plain words."""
