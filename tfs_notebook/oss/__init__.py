"""Models in Alibaba Cloud OSS: found, fetched whole, published under a local directory, and uploaded."""
