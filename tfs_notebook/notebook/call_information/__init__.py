"""How programs call a served model: addresses, token, and programs with a body made from the signature."""
