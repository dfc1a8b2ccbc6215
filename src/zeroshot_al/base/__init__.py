"""What every room may use: errors, files, params, the pool, and the ranks that share work."""
