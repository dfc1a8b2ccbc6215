"""Where the pool's images come from: published data sets, digits, or the user's own images."""
