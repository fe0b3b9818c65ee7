"""Tables of published results, and the rows in them that cannot be what they say."""
