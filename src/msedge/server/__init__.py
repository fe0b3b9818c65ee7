"""The HTTP API and the page on which one draws."""
