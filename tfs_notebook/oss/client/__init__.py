"""OSS itself: requests that are signed, sent, sent again, and compared by checksum."""
