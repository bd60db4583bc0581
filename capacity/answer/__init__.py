"""Answers: saved plans, checks, comparisons, sweep rows, JSON documents and sentences."""
