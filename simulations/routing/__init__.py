"""Routing: which replica a request is sent to; one file a policy, with its readable and its compiled form."""
