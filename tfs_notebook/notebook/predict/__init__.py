"""`%%tfs_predict`: what is asked, how it is sent, and what a refusal means."""
