"""From a record of a CRM to an activity, or the reason why it is none. Pure."""
