"""What is wrong, or soon will be, with what serves and what is to be served; each finding with its remedy."""
