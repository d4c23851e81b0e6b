"""Keep secrets and personal data out of all that syncd prints, logs and books."""

from syncd.privacy.redaction import register_secret as register_secret  # for connectors
