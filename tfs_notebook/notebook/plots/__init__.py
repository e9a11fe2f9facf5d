"""Pictures of answers: HTML that is readable in light and dark, without script or style sheet, also untrusted."""
