"""Run the commands and print their results."""
