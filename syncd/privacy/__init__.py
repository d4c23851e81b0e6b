"""Keep secrets and personal data out of everything that syncd prints, logs and stores.

redact   any text: registered secrets, tokens and addresses are replaced
scrub    a foreign text about a payload: everything that the payload holds is removed
"""

from syncd.privacy.redaction import register_secret as register_secret  # for connectors
