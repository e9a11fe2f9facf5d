"""What a person at the notebook sees: magics, live table, explanations."""
