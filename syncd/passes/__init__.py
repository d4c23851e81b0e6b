"""One pass: read every source, book, send, settle."""
