"""Types of configuration values: they parse, check and print themselves."""
