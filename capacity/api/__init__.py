"""The verbs that `import capacity as cap` offers, a file each, and where search meets simulation.

Each flag of a command is a keyword of the verb of the same name, with the same default, from the one table in
`capacity.question.asked`. Durations and rates are text with a unit, `slo_p99="80ms"`, or SI numbers by the keyword
with the unit in its name, `slo_p99_s=0.08`; a number without a unit is refused.
"""
