"""What is known of one account: how fast it may be sent to, and whether it is well."""
