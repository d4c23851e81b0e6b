"""Keep secrets and personal data out of all that syncd prints, logs and books."""
