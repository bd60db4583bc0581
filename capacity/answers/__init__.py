"""Answers: what the verbs return, a file for each."""
