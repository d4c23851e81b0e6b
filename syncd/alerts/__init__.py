"""Report by itself when syncd needs somebody. Nothing here can fail a pass or hold one up."""
