"""What a signature's inputs must be, so that no request ends the process."""
