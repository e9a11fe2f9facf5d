"""What is counted, and how long things took."""
