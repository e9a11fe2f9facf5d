"""HTTP/1.1 over llhttp: connections, requests and replies, free of what they ask for."""
