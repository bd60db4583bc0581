"""Conversations: routers that look at the session of a request or at the contents of its prompt; one file each.

Each rule is written twice, readable and compiled, and both choose alike. `beliefs` is what the compiled ones know.
"""
