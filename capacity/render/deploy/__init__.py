"""Targets: files for other tools, one module here for each tool; the registry finds it.

A target is a module of this folder with five names:

`NAME`: its name for `--target`. `FILE`: the name of its file in a folder. `PLANS`: what it can run: a
`capacity.render.deploy.fleet.Fleet`, the `SavedPlan` of engines, or `clients.SafeClients` of either.
`COVERS`: features of a plan that the file sets, that its own notes speak of, and that the target cannot have; the
header says where all others must be set (`features`). `render(plan) -> str`: the text. It starts with the comment of
`header`, needs no edit but names, and has no number that is not the plan's, or derived by a documented function.

Modules that are no target hold what several of them need: `fleet`, `recovery`, `clients`, `features`, `header` and
`scaling`.
"""
