"""The console: the state of a server as JSON, the commands people have for it, and the pages that show both."""
