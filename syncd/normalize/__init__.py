"""Turn a CRM record into an activity, or into the reason why it is not sent. Pure."""
